//! The real driver and the real program under Wine, which has a kernel's loader, an object manager and a plug and play manager, and nothing of sound: so
//! here is what a program sees of its coming, going and control device. What the driver does with sound is tested in tests/nt.

use truemute_tests::wine::Wine;

const INSTALL: &str =
    r"wine 'C:\truemute\client.exe' install 'C:\truemute\truemute.inf' 'ROOT\TrueMute'";
const REMOVE: &str = r"wine 'C:\truemute\client.exe' remove 'ROOT\TrueMute'";
const GONE: &str = r"wine 'C:\truemute\client.exe' gone";
const UNLOAD: &str = "wine sc stop TrueMute";
const TALK: &str = r"wine 'C:\truemute\client.exe' talk";

/// Starts the daemon, waits until it answers, and has `$T` stand for the program.
const DAEMON: &str = r#"
    T='wine C:\truemute\truemute.exe'
    $T driver install
    $T daemon &
    tries=0
    until $T status >/dev/null 2>&1; do tries=$((tries + 1)); [ $tries -lt 100 ]; done
"#;

fn wine() -> Option<Wine> {
    Wine::new()
        .map_err(|reason| println!("SKIPPED: {reason}"))
        .ok()
}

/// The objects of JSON that a script printed, one a line.
fn objects(text: &str) -> Vec<serde_json::Value> {
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line.trim()).ok())
        .filter(serde_json::Value::is_object)
        .collect()
}

#[test]
fn the_program_installs_the_driver_and_mutes_over_its_pipe() {
    let Some(wine) = wine() else { return };
    let said = wine.run(&format!(
        "{DAEMON}\n$T status --json; $T unmute; $T status --json; $T mute; $T status --json"
    ));
    assert!(said.ended_well, "{}", said.text);
    let states = objects(&said.text);
    let gates: Vec<&str> = states.iter().filter_map(|it| it["gate"].as_str()).collect();
    assert_eq!(gates, ["muted", "live", "muted"], "{}", said.text);
    for state in &states {
        assert_eq!(state["backend"], "wasapi");
        assert_eq!(state["connected"], true, "the driver answers: {state}");
    }
}

/// Wine gets keys only while one of its windows has them all, which on Windows no window has to.
const PRESS: &str = r#"
    wine notepad &
    tries=0
    until window=$(xdotool search --onlyvisible --name Notepad); do tries=$((tries + 1)); [ $tries -lt 600 ]; done
    xdotool windowfocus --sync $window
    for gate in live muted; do
        xdotool key ctrl+alt+m
        tries=0
        until $T status --json | grep "\"gate\":\"$gate\""; do tries=$((tries + 1)); [ $tries -lt 30 ]; done
    done
"#;

#[test]
fn the_hotkey_toggles() {
    let Some(wine) = wine() else { return };
    let said = wine.run(&format!(
        // Wine's desktop has the display of the first program: nothing runs before there is one.
        r#"cat > /mnt/script <<'END'
        appdata=$(wine cmd /c 'echo %APPDATA%' | tr -d '\r')
        folder=$(wine winepath -u "$appdata")/TrueMute
        mkdir -p "$folder"
        echo 'hotkey = "ctrl+alt+m"' > "$folder/config.toml"
        {DAEMON}
        {PRESS}
END
        xvfb-run --auto-servernum sh -e /mnt/script"#
    ));
    assert!(said.ended_well, "{}", said.text);
    let states = objects(&said.text);
    let gates: Vec<&str> = states.iter().filter_map(|it| it["gate"].as_str()).collect();
    assert_eq!(gates, ["live", "muted"], "{}", said.text);
    assert_eq!(states[1]["reason"], "hotkey");
}

/// Installs twice, reads what the service passes on until it is stopped, and removes twice.
const SERVICE: &str = r#"
    T='wine C:\truemute\truemute.exe'
    $T driver install
    $T driver install
    wine sc query TrueMuteEvents
    test -f "$C/Program Files/TrueMute/truemute.exe"
    $T driver events > /mnt/events &
    reader=$!
    tries=0
    until grep trouble /mnt/events; do tries=$((tries + 1)); [ $tries -lt 300 ]; sleep 0.1; done
    wine sc stop TrueMuteEvents > /dev/null
    wait $reader
    $T driver install
    wine sc query TrueMuteEvents
    $T driver remove
    $T driver remove
    test ! -e "$C/Program Files/TrueMute"
    if wine sc query TrueMuteEvents; then exit 1; fi
"#;

#[test]
fn the_service_runs_passes_on_what_windows_says_stops_and_goes() {
    let Some(wine) = wine() else { return };
    let said = wine.run(SERVICE);
    assert!(said.ended_well, "{}", said.text);
    let count = |what: &str| said.text.matches(what).count();
    assert_eq!(count("The driver is installed."), 3, "{}", said.text);
    assert_eq!(count("RUNNING"), 2, "{}", said.text);
    assert_eq!(count("The service is removed."), 1, "{}", said.text);
    assert_eq!(count("There is no TrueMute device to remove."), 1);
    // Wine has no traces, and the service says so to whoever reads.
    let lines = objects(&said.text);
    let [line, ..] = &lines[..] else {
        panic!("nothing came over the pipe: {}", said.text);
    };
    assert_eq!(
        (&line["schema"], &line["listens"]),
        (&1.into(), &false.into())
    );
    let trouble = line["trouble"].as_str().unwrap_or_default();
    assert!(trouble.contains("listen to its events"), "{line}");
}

#[test]
fn the_driver_is_installed_speaks_goes_and_comes_again() {
    let Some(wine) = wine() else { return };
    let said = wine.run(&format!(
        "{GONE}\n{INSTALL}\n{TALK}\n{REMOVE}\n{GONE}\n{INSTALL}\n{TALK}\n{REMOVE}\n{UNLOAD}\n{GONE}\n{INSTALL}\n{TALK}"
    ));
    assert!(said.ended_well, "{}", said.text);
    let instances: Vec<&str> = said
        .text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("instance "))
        .collect();
    let [first, second, third] = instances[..] else {
        panic!("it did not speak three times: {}", said.text);
    };
    // Wine keeps a driver whose device is gone, until it is told not to.
    assert_eq!(first, second, "counts go on while the driver is loaded");
    assert_ne!(second, third, "a driver that was loaded anew says so");
}
