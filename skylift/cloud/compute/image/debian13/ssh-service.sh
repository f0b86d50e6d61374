#!/bin/sh
# sshd runs under /usr/lib/skylift/init, which starts it again when it ends.
pid=$(cat /run/sshd.pid 2>/dev/null) || pid=
case "${1-}" in
    start) exit 0 ;;
    restart | reload | force-reload)
        /usr/sbin/sshd -t || exit 1
        [ -n "$pid" ] && exec kill -HUP "$pid"
        ;;
    status)
        [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && echo "sshd runs (pid $pid)" && exit 0
        echo "sshd does not run"
        exit 3
        ;;
esac
echo "usage: $0 start|restart|reload|status" >&2
exit 1
