#!/bin/sh
# Removes TrueMute from this Mac: the daemon of whoever runs this, the driver and the application. Your configuration and the
# history of counts stay. Run it as yourself; it asks for an administrator's password through sudo.
set -eu

driver=/Library/Audio/Plug-Ins/HAL/TrueMute.driver
application=/Applications/TrueMute.app
program=$application/Contents/MacOS/truemute
link=/usr/local/bin/truemute

[ "$(uname -s)" = Darwin ] || { echo "uninstall.sh: This is for macOS." >&2; exit 1; }
[ "$(id -u)" -ne 0 ] || { echo "uninstall.sh: Run this as yourself, without sudo." >&2; exit 1; }

# The program may be damaged or gone: what it would do is done here then.
if ! "$program" uninstall; then
    launchctl bootout "gui/$(id -u)/org.truemute.daemon" 2>/dev/null || true
    rm -f "$HOME/Library/LaunchAgents/org.truemute.daemon.plist"
fi

sudo rm -rf "$driver" "$application"
if [ "$(readlink "$link" 2>/dev/null)" = "$program" ]; then
    sudo rm -f "$link"
fi
# Until the audio server starts again it keeps the driver that it has loaded. See install.sh.
sudo killall coreaudiod 2>/dev/null || echo "Restart the Mac to have TrueMute Microphone gone from the list of microphones."
echo "TrueMute is removed."
