#!/bin/sh
# systemctl on a server without systemd: a unit is the distribution's service script in /etc/init.d, and init starts at
# each boot those that are enabled. What has no such script is refused by name.
#
# sshd is under init's own care (/etc/init.d/ssh).

refuse() {
    echo "systemctl: $2" >&2
    exit "$1"
}

now=
quiet=
verb=
units=
for word; do
    case $word in
        --now) now=yes ;;
        -q | --quiet) quiet=yes ;;
        # The usual ones that change nothing here. --root=/ is how update-rc.d calls.
        --no-pager | --no-block | --no-ask-password | --no-reload | --no-wall | --system | --root=/ | --preset-mode=* | -l | --full | -f | --force) ;;
        -*) refuse 1 "no systemd on this server; it knows no option $word" ;;
        *)
            if [ -z "$verb" ]; then verb=$word; else units="$units $word"; fi
            ;;
    esac
done

# The script's name, in $name.
find_script() {
    name=${1%.service}
    case $name in
        sshd) name=ssh ;;
        '' | *[!A-Za-z0-9@:_.-]* | .*) refuse 4 "'$1' is no name of a unit" ;;
    esac
    [ -x "/etc/init.d/$name" ] && return
    refuse "${2:-5}" "no systemd on this server: there is no service script /etc/init.d/$name for the unit $1"
}

runs() {
    "/etc/init.d/$name" status >/dev/null 2>&1
}

enabled() {
    [ "$name" = ssh ] || ls /etc/rc2.d/S[0-9][0-9]"$name" >/dev/null 2>&1
}

word() {
    [ -n "$quiet" ] || echo "$1"
}

case $verb in
    poweroff | reboot | halt) exec "/usr/sbin/$verb" ;;
    # Service scripts are read when they are used. Packages preset their units as they are installed, and enable the
    # scripts by themselves.
    daemon-reload | daemon-reexec | preset) exit 0 ;;
esac
code=0
case $verb in
    start | stop | restart | reload | force-reload | try-restart | reload-or-restart | status | is-active | is-enabled | show | \
        enable | disable | reenable) ;;
    *) refuse 1 "no systemd on this server; it knows poweroff, reboot, halt, daemon-reload, and start, stop, restart, reload,
status, is-active, enable, disable, is-enabled and show of a service that has a script in /etc/init.d" ;;
esac
[ -n "$units" ] || refuse 1 "$verb of which unit?"
for unit in $units; do
    case $verb in
        start | stop | restart | reload | force-reload)
            find_script "$unit"
            "/etc/init.d/$name" "$verb" || code=$?
            ;;
        reload-or-restart)
            find_script "$unit"
            "/etc/init.d/$name" force-reload || code=$?
            ;;
        try-restart)
            find_script "$unit"
            if runs; then "/etc/init.d/$name" restart || code=$?; fi
            ;;
        status)
            find_script "$unit" 4
            "/etc/init.d/$name" status || code=$?
            ;;
        is-active)
            find_script "$unit" 4
            if runs; then word active; else word inactive && code=3; fi
            ;;
        is-enabled)
            find_script "$unit" 4
            if enabled; then word enabled; else word disabled && code=1; fi
            ;;
        show)
            find_script "$unit" 4
            echo "Id=$name.service"
            echo "LoadState=loaded"
            if runs; then echo "ActiveState=active"; else echo "ActiveState=inactive"; fi
            if enabled; then echo "UnitFileState=enabled"; else echo "UnitFileState=disabled"; fi
            ;;
        enable | reenable)
            # update-rc.d tells systemctl what it does.
            [ -z "${SYSTEMCTL_SKIP_SYSV-}" ] || continue
            find_script "$unit"
            [ "$name" != ssh ] || continue
            update-rc.d "$name" defaults && update-rc.d "$name" enable || code=$?
            [ -z "$now" ] || "/etc/init.d/$name" start || code=$?
            ;;
        disable)
            [ -z "${SYSTEMCTL_SKIP_SYSV-}" ] || continue
            find_script "$unit"
            [ "$name" != ssh ] || refuse 1 "sshd is the way into this server, and starts at each boot"
            update-rc.d "$name" disable || code=$?
            [ -z "$now" ] || "/etc/init.d/$name" stop || code=$?
            ;;
    esac
done
exit "$code"
