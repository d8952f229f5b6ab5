#!/bin/sh
# Installs TrueMute on this Mac: the driver and the application for everybody, the daemon at login for whoever runs this.
# Run it as yourself from the unpacked archive; it asks for an administrator's password through sudo. Doing it again
# brings everything up to date.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
drivers=/Library/Audio/Plug-Ins/HAL
applications=/Applications
program=$applications/TrueMute.app/Contents/MacOS/truemute

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

[ "$(uname -s)" = Darwin ] || fail "This is for macOS. On Linux, run \`truemute install\`."
[ "$(id -u)" -ne 0 ] || fail "Run this as yourself, without sudo: the daemon runs for you."
for bundle in TrueMute.driver TrueMute.app; do
    [ -d "$here/$bundle" ] || fail "$bundle is not beside this script. Unpack the whole archive."
done
major=$(sw_vers -productVersion | cut -d . -f 1)
[ "$major" -ge 11 ] || fail "macOS 11 or newer is needed."

# What a browser loaded is in quarantine, and macOS does not open what is not notarised from there.
xattr -dr com.apple.quarantine "$here/TrueMute.driver" "$here/TrueMute.app" 2>/dev/null || true

# A daemon of the former version ends before its program is replaced.
launchctl bootout "gui/$(id -u)/org.truemute.daemon" 2>/dev/null || true

echo "Copying the driver and the application; this needs an administrator's password."
sudo mkdir -p "$drivers" /usr/local/bin
sudo rm -rf "$drivers/TrueMute.driver" "$applications/TrueMute.app"
sudo ditto "$here/TrueMute.driver" "$drivers/TrueMute.driver"
sudo ditto "$here/TrueMute.app" "$applications/TrueMute.app"
# Nobody but root may change what the audio server loads.
sudo chown -R root:wheel "$drivers/TrueMute.driver" "$applications/TrueMute.app"
sudo chmod -R go-w "$drivers/TrueMute.driver" "$applications/TrueMute.app"
sudo ln -sf "$program" /usr/local/bin/truemute

# The audio server looks for drivers when it starts; launchd starts it again at once. Newer systems may refuse to have it
# ended: then a restart of the Mac does the same.
sudo killall coreaudiod 2>/dev/null || true
listed=no
for _ in 1 2 3 4 5 6 7 8 9 10; do
    if system_profiler SPAudioDataType 2>/dev/null | grep -q "TrueMute Microphone"; then
        listed=yes
        break
    fi
    sleep 1
done

"$program" install || fail "The daemon is not started at login. Run \`truemute install\` again at the screen of this Mac."

if [ "$listed" = yes ]; then
    echo "Done. Choose TrueMute Microphone in your apps, then run: truemute unmute"
else
    echo "Copied, but macOS does not list TrueMute Microphone yet. Restart the Mac."
    echo "If it is not there after that, run \`truemute doctor\`, and see docs/macos.md in this archive."
fi
