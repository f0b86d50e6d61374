PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # as sshd sets it for single commands
