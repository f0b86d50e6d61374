#!/bin/sh
# For the habits that matter on a server without systemd; anything else is refused by name.
case "${1-}" in
    poweroff | reboot | halt) exec "/usr/sbin/$1" ;;
    restart | reload | status)
        case "${2-}" in
            ssh | sshd | ssh.service | sshd.service) exec /etc/init.d/ssh "$1" ;;
        esac
        ;;
esac
echo "systemctl: no systemd on this server; it knows poweroff, reboot, halt and restart|reload|status ssh" >&2
exit 1
