// The keyboard alone is enough: Enter does what was typed, arrows go from tab to tab, Escape leaves a row that is edited,
// and what had the keyboard hands it on when it goes.
"use strict";

const CONTROLS = "button, a[href], input, select, textarea, [tabindex='0']";
const usable = (element) => element.isConnected && !element.disabled;
const nameOf = (element) =>
  element.getAttribute("aria-label") || element.labels?.[0]?.textContent || element.textContent.trim();

// What has the keyboard now, and what had it when a question was opened.
let stands = null;
let asked = null;
let question = null;

function remember(element) {
  const line = element.closest("[data-row]");
  const trail = [];
  for (let each = element.parentElement; each; each = each.parentElement) trail.push(each);
  const row = element.closest("tr, .ag-row");
  // What is edited was begun at the first button of its row.
  const edited = element.closest(".row-edit");
  const inRow = row && !edited ? [...row.querySelectorAll(CONTROLS)].indexOf(element) : -1;
  return {
    element,
    trail,
    edited,
    inRow,
    name: nameOf(element),
    key: row?.dataset.row ?? "",
    line: line?.dataset.row ?? "",
    begun: line?.dataset.begun,
    row: row ? rowsOf(row.parentElement).indexOf(row) : -1,
    table: element.closest("table")?.getAttribute("aria-label") ?? "",
    dialog: element.closest("dialog"),
  };
}

// A grid's rows are not in their order in the page.
const rowsOf = (place) =>
  [...place.children].sort((one, other) => (Number(one.ariaRowIndex) || 0) - (Number(other.ariaRowIndex) || 0));

addEventListener("focusin", ({ target }) => {
  if (!(target instanceof Element) || target === document.body) return;
  const now = remember(target);
  if (now.dialog && now.dialog !== question) [question, asked] = [now.dialog, stands];
  stands = now;
});
// Whoever clicks beside everything wants no control to have the keyboard, and who has a mouse looks where it points: the
// page is not scrolled for them.
let points = false;
addEventListener("pointerdown", () => ((stands = null), (points = true)), true);
addEventListener("keydown", () => (points = false), true);

// A field that is made anew has what the server knew of it by then. What was typed since goes over, too, unless what it was
// for is done: then the next thing begins.
function sameField({ element, name, line, begun }) {
  if (!line || !element.matches("input, select, textarea")) return null;
  const again = [...document.querySelectorAll("[data-row]")].find((each) => each.dataset.row === line);
  const field = again && controls(again).find((each) => each.tagName === element.tagName && nameOf(each) === name);
  if (field && again.dataset.begun === begun) goOnTyping(element, field);
  return field;
}
function goOnTyping(from, to) {
  if (to.value !== from.value && (!to.options || [...to.options].some((each) => each.value === from.value))) {
    to.value = from.value;
    to.dispatchEvent(new Event("input", { bubbles: true }));
  }
  if (!to.options) to.setSelectionRange(from.selectionStart, from.selectionEnd);
}

// What comes to the place of an element that has gone: the same field; the control of the same name, or the same one in its
// row, or in that which has moved up; or the first one of the tab; or the heading, from where Tab goes on through the page.
function heir(had) {
  const place = had.trail.find((each) => each.isConnected && each !== document.documentElement) ?? document.body;
  const bar = had.element.isConnected ? had.element.closest(".buttons") : null;
  const heading = document.querySelector("h1");
  if (heading) heading.tabIndex = -1;
  return (
    sameField(had) ||
    (had.row >= 0 && inTable(had, place)) ||
    (!had.edited && namesake(had, place)) ||
    harmless(bar) ||
    harmless(place.closest("[role=tabpanel]")) ||
    heading
  );
}
const controls = (within) =>
  [...within.querySelectorAll(CONTROLS)].filter((each) => usable(each) && each.checkVisibility());
const harmless = (within) => within && controls(within).find((each) => !each.classList.contains("danger"));
const namesake = ({ element, name }, place) =>
  name && controls(place).find((each) => each !== element && each.tagName === element.tagName && nameOf(each) === name);

function inTable(had, place) {
  const grid = place.closest(".ag-root");
  if (grid) {
    const rows = rowsOf(grid.querySelector(".ag-center-cols-container"));
    return rows[Math.min(had.row, rows.length - 1)]?.querySelector(".ag-cell");
  }
  const labelled = (each) => (each.getAttribute("aria-label") ?? "") === had.table;
  const body = [...place.querySelectorAll("table"), place.closest("table")].find((each) => each && labelled(each))?.tBodies[0];
  if (!body) return null;
  const rows = rowsOf(body);
  const own = had.key && rows.find((each) => each.dataset.row === had.key);
  const next = own || rows[Math.min(had.row, rows.length - 1)];
  if (!next) return null;
  const its = controls(next);
  const instead = its[had.inRow] || next.querySelector(".actions button") || its.at(-1);
  return (!had.edited && namesake(had, body)) || instead || harmless(body.closest(".part"));
}

function handOn() {
  const closed = stands?.dialog && !(stands.dialog.open && stands.dialog.isConnected);
  const had = closed ? asked : stands;
  const active = document.activeElement;
  if (!had || (active !== document.body && active !== had.element) || usable(had.element)) return;
  heir(had)?.focus({ preventScroll: points });
}
let waits = false;
new MutationObserver(() => {
  if (waits || !stands || (usable(stands.element) && !stands.dialog)) return;
  waits = true;
  // What comes in its place comes with the same answer.
  requestAnimationFrame(() => {
    waits = false;
    handOn();
  });
}).observe(document, { childList: true, subtree: true, attributeFilter: ["disabled", "open"] });

// An element that the page may not have yet.
function skyliftFocus(id, tries = 100) {
  const element = document.getElementById(id);
  if (element) element.focus();
  else if (tries) requestAnimationFrame(() => skyliftFocus(id, tries - 1));
}

function neighbour(tab, key) {
  const tabs = [...tab.parentElement.querySelectorAll("[role=tab]")];
  const at = tabs.indexOf(tab);
  return { ArrowLeft: tabs.at(at - 1), ArrowRight: tabs[(at + 1) % tabs.length], Home: tabs[0], End: tabs.at(-1) }[key];
}

// A key that is held presses once: what has the keyboard by then was not what somebody pressed.
const PRESSED = "button, a[href], summary, select, input:not([type=file])";

addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (key === "Enter" && event.repeat && target.matches(PRESSED)) event.preventDefault();
  if (event.isComposing || event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
  if (key === "Enter" && target.matches("input:not([type=file], [type=search])")) {
    const form = target.closest("dialog") ?? target.closest(".rule-form");
    const does = form?.querySelector(form.matches("dialog") ? ".dialog-buttons .primary" : ".button.primary");
    if (!does || does.disabled) return;
    event.preventDefault();
    does.click();
  } else if (key === "Escape") {
    target.closest(".row-edit")?.querySelector("[data-cancel]")?.click();
  } else if (target.matches("[role=tab]")) {
    const next = neighbour(target, key);
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.click();
  }
});
