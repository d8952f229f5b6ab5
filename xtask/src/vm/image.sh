# Makes the virtual machine's disk: a Debian 13 of its own packages, with the files of tests/vm/root over it.
# Runs as root in a mount namespace of its own, so that no mount can stay behind.
set -e
folder=$1 mirror=$2 files=$3
shift 3
root=$folder/root
rm -rf "$folder"
mkdir -p "$folder"
debootstrap --variant=minbase trixie "$root" "$mirror"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
# An initrd with all drivers there are takes the emulation several seconds more to unpack.
mkdir -p "$root/etc/initramfs-tools/conf.d"
echo MODULES=list > "$root/etc/initramfs-tools/conf.d/modules.conf"
printf '%s\n' virtio_pci virtio_blk ext4 > "$root/etc/initramfs-tools/modules"
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install --yes --no-install-recommends "$@"
chroot "$root" apt-get clean
rm "$root/usr/sbin/policy-rc.d"
chroot "$root" useradd --create-home --shell /bin/bash person
cp -r --no-preserve=ownership "$files/." "$root/"
mkdir -p "$root/payload"
chroot "$root" chown -R person: /home/person
systemctl --root "$root" enable truemute-vm.service
umount "$root/sys" "$root/proc"
cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
cp "$root"/boot/initrd.img-* "$folder/initrd"
mkfs.ext4 -q -d "$root" "$folder/disk" 4G
rm -rf "$root"
chmod a+r "$folder"/*
