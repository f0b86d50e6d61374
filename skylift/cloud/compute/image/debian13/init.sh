#!/bin/sh
# The one child of tini on a server: opens the way in first, then runs the user data, then keeps sshd alive.
#
# The host has written before the start: /etc/hostname, hosts, resolv.conf and environment (NAME=value lines, taken as
# they stand), the login user's authorized_keys, and in /var/lib/cloud/seed the instance id and the user data, which is
# empty where there is none, or no metadata service to tell it.

umask 022
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mkdir -p /run/sshd /run/lock /run/skylift /var/lib/cloud/data
# shutdown leaves its work to a child of this process, and spares the process that it finds here.
trap '/usr/sbin/shutdown --asked </dev/null &' USR1
echo $$ >/run/skylift/init.pid

stand_by() {
    # Nothing left to do but to be there: the server ends with this process, and shutdown ends the server.
    trap '' TERM INT HUP PWR USR1
    exec sleep infinity
}

# The server's end is announced by shutdown, not by the signal that it sends to every process.
trap : TERM INT HUP
# The host's power button; whatever was being begun is not gone on with.
trap '/usr/sbin/poweroff && stand_by' PWR

while IFS= read -r line || [ -n "$line" ]; do
    case $line in
        [A-Za-z_]*=*) export "$line" ;;
    esac
done </etc/environment

read -r instance </var/lib/cloud/seed/instance-id || instance=i-none
read -r booted 2>/dev/null </var/lib/cloud/data/instance-id || booted=
read -r keyed 2>/dev/null </var/lib/cloud/data/host-keys || keyed=

# A signal ends a wait, and must not wait itself.
await() {
    while kill -0 "$1" 2>/dev/null; do
        wait "$1"
    done
}

make_host_keys() {
    # In memory first, the note last: a server that is stopped meanwhile makes them again, and has none by halves. A
    # shutdown ends each of these programs and lets this one go on, so that every step has to ask for the one before.
    ssh-keygen -q -t ed25519 -N '' -f /run/skylift/ssh_host_ed25519_key &
    ssh-keygen -q -t ecdsa -N '' -f /run/skylift/ssh_host_ecdsa_key
    await $!
    # The public half is written last.
    [ -s /run/skylift/ssh_host_ed25519_key.pub ] && [ -s /run/skylift/ssh_host_ecdsa_key.pub ] &&
        mv -f /run/skylift/ssh_host_* /etc/ssh/ &&
        # After a power cut as well.
        sync /etc/ssh/ssh_host_* &&
        echo "$instance" >/var/lib/cloud/data/host-keys
}

told_host_keys() {
    echo '-----BEGIN SSH HOST KEY FINGERPRINTS-----'
    ssh-keygen -l -f /etc/ssh/ssh_host_ecdsa_key.pub
    ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub
    echo '-----END SSH HOST KEY FINGERPRINTS-----'
    echo '-----BEGIN SSH HOST KEY KEYS-----'
    cat /etc/ssh/ssh_host_ecdsa_key.pub /etc/ssh/ssh_host_ed25519_key.pub
    echo '-----END SSH HOST KEY KEYS-----'
}

show_host_keys() {
    # At once: others write to the console meanwhile.
    words=$(told_host_keys)
    echo "$words"
}

start_sshd() {
    [ ! -e /run/sshd.pid ] || rm -f /run/sshd.pid
    /usr/sbin/sshd -D -e 2>>/var/log/sshd.log &
    sshd=$!
}

# A reader that shutdown's first signal does not end: who writes to it while being stopped would be killed by that. It ends
# with the last of them.
outlasting() (
    trap '' TERM
    exec "$@"
)

logged() {
    rm -f /run/skylift/output
    mkfifo /run/skylift/output
    outlasting tee -a /var/log/cloud-init-output.log </run/skylift/output &
    "$@" >/run/skylift/output 2>&1
}

# As cloud-init has it: at each boot, in the order of their names, and at the first one before the user data.
run_per_boot() {
    for script in /var/lib/cloud/scripts/per-boot/*; do
        [ -f "$script" ] && [ -x "$script" ] || continue
        "$script"
        status=$?
        [ $status -eq 0 ] || echo "init: $script exited with $status"
    done
}

# Whether the image has cloud-init: that then does all of user data, per-boot scripts and host keys, as on AWS. An instance
# whose first boot was before its installation stays with this program.
has_cloud_init() {
    [ -x /usr/bin/cloud-init ] && [ ! -e /etc/cloud/cloud-init.disabled ] || return 1
    [ "$booted" != "$instance" ] || [ -e "/var/lib/cloud/instances/$instance/obj.pkl" ]
}

# Its stages, as systemd orders them around sshd.
cloud_init_before_sshd() {
    [ ! -x /usr/lib/cloud-init/ds-identify ] || /usr/lib/cloud-init/ds-identify
    cloud-init init --local
    cloud-init init
}

# cloud-init may be removed or switched off later, also by the user data: its first boot is not done again then.
note_what_cloud_init_does() {
    [ -e "/var/lib/cloud/instances/$instance/obj.pkl" ] || return 0
    [ "$booted" = "$instance" ] && [ "$keyed" = "$instance" ] && return 0
    echo "$instance" >/var/lib/cloud/data/instance-id
    # Where it has made none, they are made and noted after this.
    [ ! -s /etc/ssh/ssh_host_ed25519_key ] || echo "$instance" >/var/lib/cloud/data/host-keys
    sync /var/lib/cloud/data/*
}

cloud_init_after_sshd() {
    cloud-init modules --mode=config
    cloud-init modules --mode=final
}

# Those that `systemctl enable` or an installation has enabled. sshd is started by this program itself.
start_services() {
    for script in /etc/rc2.d/S*; do
        [ -x "$script" ] || continue
        case ${script##*/} in
            S[0-9][0-9]ssh | S[0-9][0-9]cloud-*) ;;
            *) "$script" start || echo "init: $script exited with $?" ;;
        esac
    done
}

start_services_after_sshd() {
    # Beside it, sshd would come up later on a machine of few cores. It writes this file once it listens.
    until [ -s /run/sshd.pid ] || ! kill -0 "$sshd" 2>/dev/null; do
        sleep 0.05
    done
    # Line by line: a script writes half a line, works, and writes the rest, and others write meanwhile.
    start_services 2>&1 | outlasting sed -u ''
}

each_boot() {
    place=/var/lib/cloud/instances/$instance
    mkdir -p "$place/scripts"
    ln -sfn "$place" /var/lib/cloud/instance
    if [ "$booted" != "$instance" ]; then
        # Before anybody is told of the keys.
        sync /var/lib/cloud/data/*
        # Beside the scripts: more people wait for what those do.
        show_host_keys &
        shown=$!
    fi
    [ -d /var/lib/cloud/scripts/per-boot ] && logged run_per_boot
    [ "$booted" = "$instance" ] || first_boot
}

first_boot() {
    data=/var/lib/cloud/seed/user-data
    if [ -s $data ]; then
        if ! (umask 077 && cp $data "$place/user-data.txt"); then
            # No space, say. The first boot is not noted: a job's timer is in there.
            echo "init: user data: it cannot be copied to $place/user-data.txt; it was not run, and the next boot tries again"
            return
        fi
        # Once, also when the server is stopped in the middle of it: half of a script is not repeated.
        echo "$instance" >/var/lib/cloud/data/instance-id
        sync /var/lib/cloud/data/*
        logged run_user_data
    fi
    echo "$instance" >/var/lib/cloud/data/instance-id
    [ -s /etc/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
    wait "$shown"
    echo "init: first boot of $instance finished"
    : >"$place/boot-finished"
}

run_user_data() {
    read -r first <"$place/user-data.txt" || :
    case $first in
        '#!'*)
            cp "$place/user-data.txt" "$place/scripts/part-001"
            chmod 0700 "$place/scripts/part-001"
            "$place/scripts/part-001"
            status=$?
            [ $status -eq 0 ] || echo "init: user data: part-001 exited with $status"
            ;;
        *) /usr/bin/python3 -I /usr/lib/skylift/userdata.py "$place/user-data.txt" "$place/scripts" ;;
    esac
}

ln -sf /proc/1/fd/1 /dev/console
cloud_init=
if has_cloud_init; then
    cloud_init=yes
    (cd / && cloud_init_before_sshd) </dev/null &
    await $!
    note_what_cloud_init_does
fi
# A disk that was copied from another server's brings that one's keys along.
[ -n "$cloud_init" ] && [ -s /etc/ssh/ssh_host_ed25519_key ] || [ "$keyed" = "$instance" ] || make_host_keys
start_sshd

# ping for everyone, as systemd sets it; the program has no capability of its own in Debian 13.
echo 0 65535 >/proc/sys/net/ipv4/ping_group_range
echo "Debian GNU/Linux 13, a local server of skylift: $instance"
(cd / && start_services_after_sshd) </dev/null &
if [ -n "$cloud_init" ]; then
    (cd / && cloud_init_after_sshd) </dev/null &
else
    (cd / && each_boot) </dev/null &
fi

while :; do
    wait "$sshd"
    # A signal ends the wait as well.
    kill -0 "$sshd" 2>/dev/null && continue
    [ -e /run/skylift/stopping ] && stand_by
    # Not at once: an sshd that cannot start must not eat the processor.
    sleep 1
    start_sshd
done
