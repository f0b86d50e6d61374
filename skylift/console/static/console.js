// The page's own script: what cannot wait for the server. Values come as arguments and attributes, and are text.
"use strict";

const darkWished = () => {
  const chosen = localStorage.getItem("theme");
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const dress = () => (document.documentElement.dataset.theme = darkWished() ? "dark" : "light");
dress();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);

// A console that ends says so (1012). The next one has another address, and whoever answers at this one then is somebody
// else: he gets no word from this page, tells it nothing, and finds nothing in it.
const Line = WebSocket;
window.WebSocket = class extends Line {
  constructor(...given) {
    super(...given);
    this.addEventListener("close", ({ code }) => code === 1012 && showTheEnd());
  }
};
function showTheEnd() {
  window.socket.disconnect();
  document.title = "skylift console";
  document.body.replaceChildren(document.createElement("h1"));
  document.querySelector("h1").textContent = "The console has ended. Run `skylift console` for a link to another one.";
}

const one = (name) => document.querySelector(`[data-search="${name}"]`);

// Above all else, also above a dialog that is open.
function noticesPlace(id, role) {
  let all = document.getElementById("notices");
  if (!all) {
    all = document.body.appendChild(document.createElement("div"));
    all.id = "notices";
    all.popover = "manual";
  }
  if (all.matches(":popover-open")) all.hidePopover();
  all.showPopover();
  let place = document.getElementById(id);
  if (!place) {
    place = all.appendChild(document.createElement("div"));
    place.id = id;
    place.setAttribute("role", role);
  }
  return place;
}

function skyliftTell(text) {
  const notice = noticesPlace("told", "status").appendChild(document.createElement("div"));
  notice.className = "notice";
  notice.textContent = text;
  setTimeout(() => notice.remove(), 6000);
}

// An error stays until it is closed: nobody reads it at once, and what to do is in it. It is there once, however often it
// comes, below those that came before.
function skyliftTellTrouble(message, advice) {
  const place = noticesPlace("troubles", "alert");
  const text = JSON.stringify([message, advice]);
  [...place.children].find((each) => each.dataset.text === text)?.remove();
  const notice = place.appendChild(document.createElement("div"));
  notice.className = "trouble";
  notice.dataset.text = text;
  notice.appendChild(document.createElement("strong")).textContent = message;
  if (advice) notice.appendChild(document.createElement("p")).textContent = advice;
  const close = notice.appendChild(document.createElement("button"));
  close.type = "button";
  close.className = "button";
  close.textContent = "Close";
  close.addEventListener("click", () => notice.remove());
  notice.scrollIntoView({ block: "nearest" });
}

// What somebody has begun here and would lose: an open question, or a field that was typed in. A search is typed again,
// and a shell is found again.
document.addEventListener(
  "input",
  ({ target }) => {
    if (target === one("field")) entered = "";
    if (!target.closest(".search, .xterm")) target.dataset.typed = location.pathname;
  },
  true,
);
// What was typed on the page before does not count: its elements may go a moment after its address.
const begun = () => document.querySelector(`dialog[open], [data-typed="${CSS.escape(location.pathname)}"]`);

// Chromium drops requests that wait for a connection when the machine's network changes, as it does whenever a server
// starts here. A page that lacks a part for it is loaded again: it is found as it was. What is begun there comes first.
// Whoever has left it, for a page that is on its way, is not taken back.
let lacking = false;
let left = 0;
addEventListener("beforeunload", () => (left = Date.now()));
function loadAgain() {
  lacking = true;
  if (Date.now() - left < 30000) return setTimeout(loadAgain, 30000);
  if (begun()) return skyliftTell("A part of this page could not be loaded. Load the page again when you have finished here.");
  const last = Number(sessionStorage.getItem("loadedAgain"));
  if (Date.now() - last < 10000) return skyliftTell("A part of this page could not be loaded. Load the page again.");
  sessionStorage.setItem("loadedAgain", Date.now());
  location.reload();
}
addEventListener("error", (event) => ["SCRIPT", "LINK"].includes(event.target.tagName) && loadAgain(), true);
// NiceGUI catches what fails when it fetches a part for an element that is new, and tells nobody but the log. If the element
// is of another page, that one's address comes a moment later: whoever loads the page before would take the click back.
const sayError = console.error;
console.error = (...said) => {
  sayError(...said);
  if (!said.some((each) => /dynamically imported module/.test(String(each)))) return;
  lacking = true;
  if (begun()) loadAgain();
  else setTimeout(loadAgain, 1000);
};
// The next page may need the same part, which the browser does not fetch twice.
const goOn = history.pushState.bind(history);
history.pushState = (...place) => {
  goOn(...place);
  const [path, name, value] = early;
  early = [];
  if (location.pathname === path) sayInAddress(path, name, value);
  moved = true;
  requestAnimationFrame(goToTheBeginning);
  if (lacking) loadAgain();
};

// Whoever follows a link is at the beginning of its page: the keyboard goes on from there, and a reader of the screen says
// where that is. What somebody has gone to by then is left alone.
let moved = false;
addEventListener("popstate", () => (moved = true));
for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => (moved = false), true);
// The title may come before the address, or after it.
function goToTheBeginning() {
  const at = document.activeElement;
  if (!moved || (at && at !== document.body && !at.closest(".side"))) return;
  const heading = document.querySelector(".main h1");
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

function skyliftTitle(text) {
  document.title = `${text} · skylift`;
  requestAnimationFrame(goToTheBeginning);
}

// What an address asks for beside its page is done: it is not asked for again when the page is loaded again.
const skyliftForgetQuery = (path, name) => sayInAddress(path, name, "");

// The tab that is open is found again. Back leads to the page before, not to the tab before.
const skyliftSayTab = (path, word) => sayInAddress(path, "tab", word);

// Somebody may have gone on to another page by now; or a page comes before its address, which gets the word a moment later.
let early = [];
function sayInAddress(path, name, value) {
  if (location.pathname !== path) {
    early = [path, name, value];
    return;
  }
  const query = new URLSearchParams(location.search);
  if (value) query.set(name, value);
  else query.delete(name);
  const page = query.toString() ? `${path}?${query}` : path;
  if (page !== location.pathname + location.search) history.replaceState({ page }, "", page);
}

document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    navigator.clipboard.writeText(copy.dataset.copy).then(
      () => skyliftTell("Copied."),
      () => skyliftTell("The browser did not let this page copy. Select the text and press Ctrl-C."),
    );
  }
  if (event.target.closest("[data-fullscreen]")) {
    // Escape is an editor's key there, too: the browser asks to hold it down.
    document.querySelector(".terminal")?.requestFullscreen().then(() => navigator.keyboard?.lock(["Escape"]));
  }
  if (event.target.closest("[data-skip]")) {
    const heading = document.querySelector(".main h1");
    if (heading) {
      heading.tabIndex = -1;
      heading.focus();
    }
  }
  if (event.target.closest("[data-theme='toggle']")) {
    localStorage.setItem("theme", darkWished() ? "light" : "dark");
    dress();
  }
  if (!event.target.closest(".search") || event.target.closest(".hit")) leaveSearch();
});

function leaveSearch() {
  const field = one("field");
  if (field && field.value) {
    field.value = "";
    field.dispatchEvent(new Event("input"));
  }
}

document.addEventListener("keydown", (event) => {
  const field = one("field");
  // With Shift it is no key of any program in a terminal: it leads out of there.
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && field) {
    event.preventDefault();
    field.focus();
    field.select();
    return;
  }
  if (!event.target.closest(".search")) return;
  const hits = [...document.querySelectorAll(".hit")];
  const at = hits.indexOf(document.activeElement);
  if (event.key === "ArrowDown" && hits.length) {
    event.preventDefault();
    hits[Math.min(at + 1, hits.length - 1)].focus();
  } else if (event.key === "ArrowUp" && at >= 0) {
    event.preventDefault();
    (hits[at - 1] || field).focus();
  } else if (event.key === "Enter" && at < 0) {
    entered = field.value.trim();
    takeEntered();
  } else if (event.key === "Escape") {
    leaveSearch();
    field.blur();
  }
});

// Enter may be quicker than the answer to what was typed before it.
let entered = "";
function takeEntered() {
  const found = one("found");
  if (!entered || !found || found.dataset.of !== entered) return;
  const hit = found.querySelector(".hit");
  if (!hit) return;
  entered = "";
  one("field").blur();
  hit.click();
}

// Hits come from several lists, one after the other. The one that the keyboard is at stays so.
let chosenHit = "";
addEventListener("focusin", ({ target }) => {
  const search = target.closest?.(".search");
  chosenHit = target.closest?.(".hit")?.getAttribute("href") || "";
  if (!search || search.dataset.watched) return;
  search.dataset.watched = "yes";
  new MutationObserver(() => {
    takeEntered();
    if (chosenHit && document.activeElement === document.body) {
      [...document.querySelectorAll(".hit")].find((hit) => hit.getAttribute("href") === chosenHit)?.focus();
    }
  }).observe(search, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-of"] });
});

// Arrow keys walk a table. Tab goes from its head to its rows, and from these to what comes after it: AG Grid would want it
// for each cell of a thousand rows.
const TABBABLE = "a[href], button, input, select, textarea, summary, [tabindex]";
const isTabbable = (each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility({ checkVisibilityCSS: true });
addEventListener(
  "keydown",
  (event) => {
    const grid = event.key === "Tab" && !event.ctrlKey && !event.altKey && event.target.closest?.(".grid");
    if (!grid || event.target.closest(".ag-popup")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const [here, there] = event.shiftKey ? [".ag-body", ".ag-header-cell"] : [".ag-header", ".ag-row .ag-cell"];
    const within = event.target.closest(here) && grid.querySelector(there);
    (within || besides(grid, event.shiftKey) || document.body).focus();
  },
  true,
);
function besides(grid, before) {
  const wanted = before ? Node.DOCUMENT_POSITION_PRECEDING : Node.DOCUMENT_POSITION_FOLLOWING;
  const all = [...document.querySelectorAll(TABBABLE)].filter(
    (each) => isTabbable(each) && !grid.contains(each) && grid.compareDocumentPosition(each) & wanted,
  );
  return before ? all.at(-1) : all[0];
}

// A field gets a value that was chosen elsewhere.
function skyliftFill(id, value) {
  const field = document.getElementById(id);
  if (!field) return;
  field.value = value;
  if (field.tagName !== "SELECT" || field.value === value) return;
  // Its option is on its way.
  const watcher = new MutationObserver(() => {
    field.value = value;
    if (field.value === value) watcher.disconnect();
  });
  watcher.observe(field, { childList: true, subtree: true, attributes: true });
}

// Ctrl-C copies what is selected, and is the program's otherwise. Ctrl-Shift-V pastes, by the browser itself: Ctrl-V is a
// key of editors. Returns whether the key is the program's.
function leaveToBrowser(terminal, event) {
  if (event.type !== "keydown" || !event.ctrlKey || event.altKey) return true;
  const key = event.key.toLowerCase();
  if (key === "c" && (terminal.hasSelection() || event.shiftKey)) {
    event.preventDefault();
    navigator.clipboard.writeText(terminal.getSelection());
    terminal.clearSelection();
    return false;
  }
  return !((key === "v" || key === "k") && event.shiftKey);
}

// A log is read, not typed into: keys scroll it, and Tab goes on to what comes after it.
const scrolls = {
  PageUp: (terminal) => terminal.scrollPages(-1),
  PageDown: (terminal) => terminal.scrollPages(1),
  Home: (terminal) => terminal.scrollToTop(),
  End: (terminal) => terminal.scrollToBottom(),
  ArrowUp: (terminal) => terminal.scrollLines(-1),
  ArrowDown: (terminal) => terminal.scrollLines(1),
};
function readByKey(terminal, event) {
  if (event.type === "keydown" && scrolls[event.key]) {
    event.preventDefault();
    scrolls[event.key](terminal);
  } else {
    leaveToBrowser(terminal, event);
  }
  return false;
}

// A terminal has as many rows and columns as there is room for, also later.
function skyliftFit(id) {
  const place = getHtmlElement(id);
  const terminal = getElement(id);
  if (!place || !terminal) return;
  // In the next frame: what an observer changes at once may be an error of the page's.
  new ResizeObserver(() => requestAnimationFrame(() => place.isConnected && terminal.fit())).observe(place);
  const reads = terminal.terminal.options.disableStdin;
  const keys = reads ? readByKey : leaveToBrowser;
  terminal.terminal.attachCustomKeyEventHandler((event) => keys(terminal.terminal, event));
  const label = place.getAttribute("aria-label");
  terminal.terminal.textarea.setAttribute("aria-label", reads ? label : `${label}. Ctrl-Shift-K leads out of it.`);
  terminal.fit();
  if (!reads) terminal.terminal.focus();
}

// What belongs to a box of a map lights up.
function light(event) {
  const node = event.target.closest?.("[data-node]");
  const map = (node || event.target).closest?.(".map");
  if (!map) return;
  const related = new Set(node ? node.dataset.related.split(" ") : []);
  map.classList.toggle("map-lit", Boolean(node));
  for (const each of map.querySelectorAll("[data-node]")) each.classList.toggle("lit", related.has(each.dataset.node));
  for (const each of map.querySelectorAll("[data-start]")) {
    each.classList.toggle("lit", related.has(each.dataset.start) && related.has(each.dataset.end));
  }
}
for (const kind of ["mouseover", "mouseleave", "focusin", "focusout"]) document.addEventListener(kind, light);

// Files that are dropped on a folder of S3, or chosen there, are sent one after the other.
async function upload(place, files) {
  for (const file of files) {
    skyliftTell(`Uploading ${file.name} …`);
    const query = new URLSearchParams({ bucket: place.dataset.bucket, key: place.dataset.prefix + file.name });
    const answer = await fetch(`/object?${query}`, { method: "POST", body: file });
    skyliftTell(answer.ok ? `${file.name} is there.` : `${file.name} was not stored: ${await answer.text()}`);
  }
  place.dispatchEvent(new Event("uploaded"));
}
document.addEventListener("dragover", (event) => {
  if (event.target.closest?.(".drop")) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  const place = event.target.closest?.(".drop");
  if (!place) return;
  event.preventDefault();
  upload(place, [...event.dataTransfer.files]);
});
document.addEventListener("change", (event) => {
  const place = event.target.type === "file" ? event.target.closest(".drop") : null;
  if (!place) return;
  const files = [...event.target.files];
  // The same file may be chosen again.
  event.target.value = "";
  upload(place, files);
});

// A script that is dropped or chosen is put into the fields of the form, whose ids the place has. Nothing is sent yet.
async function takeScript(place, files) {
  const [file] = files;
  if (!file) return;
  if (files.length > 1) return skyliftTell("One script at a time.");
  if (file.size > Number(place.dataset.most)) return skyliftTell(`${file.name} is too large for this page.`);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    return skyliftTell(`${file.name} is not UTF-8 text.`);
  }
  for (const [id, value] of [[place.dataset.name, file.name], [place.dataset.text, text]]) {
    skyliftFill(id, value);
    document.getElementById(id)?.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
document.addEventListener("dragover", (event) => {
  if (event.target.closest?.(".script-drop")) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  const place = event.target.closest?.(".script-drop");
  if (!place) return;
  event.preventDefault();
  takeScript(place, [...event.dataTransfer.files]);
});
document.addEventListener("change", (event) => {
  const place = event.target.type === "file" ? event.target.closest(".script-drop") : null;
  if (place) takeScript(place, [...event.target.files]);
});
