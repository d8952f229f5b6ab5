#!/bin/sh
# The first day on a Mac: does in order what nobody could try without one, and writes each answer as a line of facts. Run it as
# yourself, at the screen, from the unpacked archive; docs/first-mac-day.md says what each part is about. It takes half an hour.
#
# It installs TrueMute, ends the audio server once, and leaves TrueMute installed. Answer y, n, or - for "cannot tell".
set -u

here=$(cd "$(dirname "$0")" && pwd)
facts=${1:-$HOME/Desktop/truemute-first-day.txt}
driver=/Library/Audio/Plug-Ins/HAL/TrueMute.driver
application=/Applications/TrueMute.app
program=$application/Contents/MacOS/truemute
log_predicate='eventMessage CONTAINS[c] "truemute" OR process CONTAINS[c] "truemute"'

[ "$(uname -s)" = Darwin ] || { echo "first-day.sh: This is for a Mac." >&2; exit 1; }
[ "$(id -u)" -ne 0 ] || { echo "first-day.sh: Run this as yourself, without sudo." >&2; exit 1; }
: > "$facts" || exit 1

# What a person reads, and what is kept.
part() { printf '\n== %s\n' "$*" | tee -a "$facts"; }
fact() { printf '%s\n' "$*" | tee -a "$facts"; }
# The output of a command, after the command itself, and how it ended.
run() {
    printf '\n$ %s\n' "$*" | tee -a "$facts"
    "$@" > "$facts.out" 2>&1
    ended=$?
    head -n 1000 "$facts.out" | tee -a "$facts"
    rm -f "$facts.out"
    fact "[ended with $ended]"
    return "$ended"
}
# A question to the person; the answer is a fact.
ask() {
    printf '\n%s ' "$*"
    read -r answer || answer=-
    fact "ANSWER: $* -> $answer"
}
wait_for() {
    printf '\n%s Then press Return. ' "$*"
    read -r _ || true
    fact "DONE: $*"
}
# What the driver knows of its clients, twice, ten seconds apart: the difference is the rate of each.
counts() {
    run "$program" stats --json
    run "$program" doctor --json
    sleep 10
    run "$program" stats --json
    run "$program" doctor --json
}

printf '%s\n' "What is collected from here on (system_profiler, the system's log, status) holds names of apps, devices and users, and the" \
    "UIDs of devices, which often are serial numbers. It all goes into $facts, which nobody gets unless you send it."
wait_for "Go on if that is right with you; else press Control-C."

part "1. This Mac"
run sw_vers
run uname -m
run csrutil status
run spctl --status
run system_profiler SPAudioDataType

part "2. The signatures as macOS sees them"
for bundle in "$here/TrueMute.driver" "$here/TrueMute.app"; do
    run xattr -lr "$bundle"
    run codesign --verify --strict --verbose=4 "$bundle"
    run codesign --display --verbose=4 --entitlements - "$bundle"
    run spctl --assess --verbose=4 "$bundle"
done

part "3. Installing: is the audio server started again, and how soon is the microphone listed?"
started=$(date +%s)
before=$(pgrep -x coreaudiod)
run "$here/install.sh"
fact "coreaudiod was process $before and is $(pgrep -x coreaudiod); install.sh took $(($(date +%s) - started)) s"

part "4. Does the driver load, signed ad hoc, and in which process?"
if system_profiler SPAudioDataType | grep -q "TrueMute Microphone"; then
    fact "LISTED: yes"
else
    fact "LISTED: no"
    ask "It is not listed. Restart the Mac later and run this script again; go on now all the same? (y/n)"
    [ "$answer" = y ] || exit 1
fi
run ls -le@ "$driver" "$driver/Contents" "$driver/Contents/MacOS"
run sh -c "ps -axo pid,user,command | grep -i -e coreaudio -e Driver-Service -e truemute | grep -v grep"
run log show --last 10m --style compact --predicate "$log_predicate"

part "5. Does the driver's socket come up, and does the daemon reach it?"
run sh -c "sudo lsof -U 2>/dev/null | grep -i truemute"
run "$program" status
run "$program" status --json
run "$program" doctor
fact "What the driver tells about itself, through Core Audio (no socket is needed for it), under \"driver\":"
run "$program" doctor --json
run launchctl print "gui/$(id -u)/org.truemute.daemon"
run tail -n 50 "$HOME/Library/Logs/TrueMute.log"

part "6. The permission for the microphone"
fact "TrueMute captures the real mic only while it is unmuted and an app records from TrueMute Microphone: so first an app."
wait_for "Open QuickTime Player, File, New Audio Recording, choose TrueMute Microphone with the arrow, and start it."
run "$program" unmute
ask "Did macOS ask whether TrueMute may use the microphone, with TrueMute's name in it? (y/n/-)"
wait_for "Allow it if it asks."
run "$program" unmute
run "$program" status
ask "Is there an orange dot in the menu bar now? (y/n)"
wait_for "Stop the recording, and quit QuickTime Player."

part "7. Is the sound right?"
wait_for "In System Settings, Sound, Input: choose TrueMute Microphone and speak."
ask "Does the level move while you speak? (y/n)"
run "$program" mute
ask "And now, muted: does it stay still while you speak? (y/n)"
ask "Is the orange dot gone (close System Settings first)? (y/n)"
run "$program" status
run "$program" unmute

part "8. ReadInput: once per client and cycle, or once per cycle?"
wait_for "Open QuickTime Player, File, New Audio Recording, choose TrueMute Microphone with the arrow, and start it."
fact "ONE recorder:"
counts
wait_for "Open Voice Memos (its microphone is the one of System Settings) and start a recording, too."
fact "TWO recorders:"
counts
wait_for "Open Safari or Chrome on a page that records (webrtc.github.io/samples, getUserMedia, audio), too."
fact "THREE recorders:"
counts

part "9. StartIO and StopIO"
wait_for "Stop the recording in QuickTime Player, and leave the program open."
fact "QuickTime STOPPED:"
counts
wait_for "Quit QuickTime Player."
fact "QuickTime GONE:"
run "$program" clients
run "$program" doctor --json
run log show --last 5m --style compact --predicate "$log_predicate"

part "10. Muted, the daemon killed, the audio server killed: what do recorders get?"
wait_for "Start a new recording in QuickTime Player and keep speaking until this part is over: count aloud."
run "$program" unmute
sleep 5
fact "MUTE at $(date +%T)"
run "$program" mute
sleep 5
fact "UNMUTE at $(date +%T)"
run "$program" unmute
sleep 5
fact "KILL -9 of the daemon at $(date +%T)"
run sh -c "kill -9 \$(launchctl print gui/$(id -u)/org.truemute.daemon | awk '\$1 == \"pid\" { print \$3 }')"
sleep 8
run "$program" status
run "$program" unmute
sleep 3
fact "KILL of coreaudiod at $(date +%T)"
run sudo killall coreaudiod
sleep 5
run "$program" status
run "$program" doctor
wait_for "Stop the recording and play it."
ask "Is there silence from MUTE to UNMUTE, without clicks or old words? (y/n)"
ask "Is there silence after the daemon was killed? (y/n)"
ask "What did QuickTime do when the audio server was killed (went on, stopped, said an error)?"

part "11. Who records from the real mic itself?"
wait_for "In QuickTime Player start a recording from the built-in microphone."
run "$program" status
run "$program" doctor
fact "Hog mode: set hold_device = true in ~/.config/truemute/config.toml for this, and remove it afterwards."
fact "TrueMute takes no mic that has an output, too (a headset often has): choose a microphone without one."
wait_for "Add that line, while QuickTime records."
run launchctl kickstart -k "gui/$(id -u)/org.truemute.daemon"
sleep 5
run "$program" mute
run "$program" status
ask "Does the running recording from the built-in microphone still get sound? (y/n)"
ask "Can a new recording from the built-in microphone be started, and has it sound? (y/n)"
wait_for "Remove the line."
run launchctl kickstart -k "gui/$(id -u)/org.truemute.daemon"

part "12. Which apps list TrueMute Microphone?"
for app in FaceTime Zoom Teams Chrome Safari; do
    ask "$app: does it list it, and does the other side hear you through it (listed, heard / - for not tried)?"
done

part "13. The hotkey, sleep, another user"
fact "Set hotkey = \"ctrl+alt+m\" in ~/.config/truemute/config.toml."
wait_for "Add that line."
run launchctl kickstart -k "gui/$(id -u)/org.truemute.daemon"
sleep 3
run "$program" status
wait_for "Press ctrl+alt+m once in another program."
run "$program" status
ask "Has the gate changed? (y/n)"
wait_for "Start a recording from TrueMute Microphone in QuickTime Player."
run "$program" unmute
wait_for "Let the Mac sleep for a minute (Apple menu, Sleep), and wake it."
run "$program" status
ask "Is it muted now, as it must be after a sleep? (y/n)"
ask "Does a recording from TrueMute Microphone have sound after \`truemute unmute\`, without crackling? (y/n)"
fact "Another user next: not without a second account on this Mac. Then answer -."
run "$program" unmute
wait_for "Switch to another user without logging out (Apple menu, Lock Screen, Switch User), record ten seconds from TrueMute Microphone there, and come back."
ask "Has the other user's recording sound? It must be silence. (y/n/-)"
run "$program" status

part "14. What the logs say"
fact "The logs and the facts hold names of apps, devices and users, and serial numbers of devices. They stay on this Mac until you send them."
ask "Collect the logs into $facts? (y/n)"
if [ "$answer" != y ]; then
    fact "The logs were not collected."
else
    run log show --last 40m --style compact --predicate "$log_predicate"
    run tail -n 200 "$HOME/Library/Logs/TrueMute.log"
    run sh -c "ls -t ~/Library/Logs/DiagnosticReports /Library/Logs/DiagnosticReports | grep -i -e coreaudio -e truemute"
fi

fact ""
fact "The facts are in $facts. Read them for what should not leave this Mac, then send them with a report."
fact "To remove TrueMute: $here/uninstall.sh"
