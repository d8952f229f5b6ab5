# The first day on Windows: does in order what nobody could try without it, and writes each answer as a line of facts. Run it at the
# screen, from the unpacked archive, in a PowerShell that was started as administrator; docs/first-windows-day.md says what each part
# is about. It takes half an hour, and a restart before it.
#
# It installs TrueMute and leaves it installed. Answer y, n, or - for "cannot tell".
param([string]$Facts = "$([Environment]::GetFolderPath('Desktop'))\truemute-first-day.txt")

$here = $PSScriptRoot
$program = "$here\truemute.exe"
$architecture = $env:PROCESSOR_ARCHITECTURE
$driver = if ($architecture -eq 'ARM64') { "$here\driver-arm64" } else { "$here\driver" }
$administrator = [Security.Principal.WindowsBuiltInRole]::Administrator
$me = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
if (-not $me.IsInRole($administrator)) {
    Write-Error 'first-day.ps1: Start PowerShell as administrator, then run this.'
    exit 1
}
foreach ($file in $program, "$driver\truemute.sys", "$driver\truemute.inf") {
    if (-not (Test-Path $file)) {
        Write-Error "first-day.ps1: $file is missing. Unpack the whole archive."
        exit 1
    }
}
Set-Content -Path $Facts -Value "TrueMute, first day on Windows, $(Get-Date -Format s)"

# What a person reads, and what is kept.
function Fact([string]$text) { Write-Host $text; Add-Content -Path $Facts -Value $text }
function Part([string]$text) { Fact ''; Fact "== $text" }
# The output of a command, after the command itself, and how it ended.
function Run([string]$command) {
    Fact ''
    Fact "> $command"
    $global:LASTEXITCODE = 0
    try { $output = Invoke-Expression "$command 2>&1" | Out-String -Width 200 } catch { $output = "$_" }
    $output -split "`r?`n" | Select-Object -First 400 | ForEach-Object { Fact $_ }
    Fact "[ended with $LASTEXITCODE]"
}
# A question to the person; the answer is a fact, and is given back.
function Ask([string]$question) {
    $answer = Read-Host "`n$question"
    Fact "ANSWER: $question -> $answer"
    $answer
}
function WaitFor([string]$what) {
    [void](Read-Host "`n$what Then press Enter.")
    Fact "DONE: $what"
}
# What the driver counted, twice, ten seconds apart: the difference is the rate.
function Counts {
    Run "& '$program' stats --json"
    Start-Sleep -Seconds 10
    Run "& '$program' stats --json"
}

Write-Host "What is collected from here on holds names of apps, devices and users, and identifiers of devices. It all goes into"
Write-Host "$Facts, which nobody gets unless you send it."
WaitFor 'Go on if that is right with you; else press Control-C.'

Part '1. This Windows'
Run 'Get-ComputerInfo -Property WindowsProductName, WindowsVersion, OsBuildNumber, OsArchitecture'
Run 'Confirm-SecureBootUEFI'
Run 'bcdedit /enum "{current}"'
Fact 'SLEEP: "S3" below means that devices are powered down; "S0 Low Power Idle" is Modern Standby, in which they may not be.'
Run 'powercfg /a'
Run '(Get-CimInstance -Namespace root\Microsoft\Windows\DeviceGuard -ClassName Win32_DeviceGuard).SecurityServicesRunning'
Run 'Get-PnpDevice -Class AudioEndpoint | Format-Table Status, FriendlyName, InstanceId'
$test_mode = (bcdedit /enum '{current}' | Out-String) -match 'testsigning\s+(Yes|Ja|Oui|On)'
Fact "TEST MODE: $test_mode"
if (-not $test_mode) {
    Fact 'Windows loads a driver with a test signature in test mode only. Switch Secure Boot off in the firmware (keep the BitLocker'
    Fact 'recovery key at hand), run: bcdedit /set testsigning on'
    Fact 'then restart, and run this script again.'
    if ((Ask 'It does not look like test mode. Go on all the same? (y/n)') -ne 'y') { exit 1 }
}

Part '2. The driver package: a catalogue and a signature of this machine'
Fact 'The .sys has a test signature made on Linux. A package needs a signed catalogue as well, which only Windows makes.'
Run "Get-AuthenticodeSignature '$driver\truemute.sys' | Format-List Status, StatusMessage, SignerCertificate"
$subject = 'CN=TrueMute test on this machine'
$stores = 'Cert:\LocalMachine\My', 'Cert:\LocalMachine\Root', 'Cert:\LocalMachine\TrustedPublisher'
# The key goes with the certificate; the copies in the other stores have none.
function RemoveCertificate {
    Get-ChildItem $stores | Where-Object Subject -eq $subject | ForEach-Object {
        if ($_.HasPrivateKey) { $_ | Remove-Item -DeleteKey } else { $_ | Remove-Item }
    }
    Fact 'The certificate of this machine was taken away again, and its key.'
}
# Before the end, wherever that is: what stays that lowers this machine's protection, and how it goes.
function Leave([int]$code) {
    if (Get-ChildItem $stores | Where-Object Subject -eq $subject) {
        Fact "This machine still trusts the certificate ""$subject"". Without it the driver does not load. To take it and its key away:"
        Fact "    Get-ChildItem $($stores -join ', ') | Where-Object Subject -eq '$subject' | ForEach-Object { if (`$_.HasPrivateKey) { `$_ | Remove-Item -DeleteKey } else { `$_ | Remove-Item } }"
    }
    Fact "The facts are in $Facts. Read them for what should not leave this machine, then send them with a report."
    Fact 'To leave test mode: bcdedit /set testsigning off, switch Secure Boot on, restart.'
    exit $code
}
$certificate = Get-ChildItem Cert:\LocalMachine\My | Where-Object Subject -eq $subject | Select-Object -First 1
if (-not $certificate) {
    $certificate = New-SelfSignedCertificate -Type CodeSigningCert -Subject $subject -KeyExportPolicy NonExportable -CertStoreLocation Cert:\LocalMachine\My
}
$exported = Join-Path $env:TEMP 'truemute-test.cer'
[void](Export-Certificate -Cert $certificate -FilePath $exported)
foreach ($store in 'Root', 'TrustedPublisher') {
    [void](Import-Certificate -FilePath $exported -CertStoreLocation "Cert:\LocalMachine\$store")
}
$signed = Set-AuthenticodeSignature -FilePath "$driver\truemute.sys" -Certificate $certificate -HashAlgorithm SHA256
Fact "The driver, signed again by this machine: $($signed.Status)"
$catalogue = "$driver\truemute.cat"
Remove-Item $catalogue -ErrorAction SilentlyContinue
$inf2cat = Get-ChildItem 'C:\Program Files (x86)\Windows Kits\10\bin\*\x86\Inf2Cat.exe' -ErrorAction SilentlyContinue | Select-Object -Last 1
if ($inf2cat) {
    $systems = if ($architecture -eq 'ARM64') { '10_VB_ARM64' } else { '10_VB_X64' }
    Run "& '$($inf2cat.FullName)' /driver:'$driver' /os:$systems"
    Fact 'CATALOGUE: by Inf2Cat'
} else {
    Run "New-FileCatalog -Path '$driver' -CatalogFilePath '$catalogue' -CatalogVersion 2"
    Fact 'CATALOGUE: by New-FileCatalog; if Windows refuses it below, install the WDK, whose Inf2Cat this script then uses'
}
$signed = Set-AuthenticodeSignature -FilePath $catalogue -Certificate $certificate -HashAlgorithm SHA256
Fact "The catalogue: $($signed.Status)"

Part '3. Installing: is there an endpoint?'
Run "& '$program' driver install --inf '$driver\truemute.inf'"
Start-Sleep -Seconds 3
Run 'Get-PnpDevice -InstanceId ROOT\TRUEMUTE\* | Format-List Status, Problem, FriendlyName, InstanceId'
Run 'pnputil /enum-drivers /class MEDIA'
Run "Get-Content C:\Windows\INF\setupapi.dev.log -Tail 150"
$listed = Get-PnpDevice -Class AudioEndpoint -PresentOnly -ErrorAction SilentlyContinue | Where-Object FriendlyName -like '*TrueMute*'
Fact "LISTED: $([bool]$listed)"
if (-not $listed) {
    Run 'Get-WinEvent -LogName System -MaxEvents 60 | Where-Object Message -match "truemute|audio" | Format-List TimeCreated, ProviderName, Id, Message'
    if ((Ask 'There is no endpoint. Go on all the same? (y/n)') -ne 'y') { Leave 1 }
}
Run 'sc.exe qc TrueMuteEvents'
Run 'sc.exe query TrueMuteEvents'
Run "& '$program' install"
Run "& '$program' status"
Run "& '$program' status --json"
Run "& '$program' doctor"

Part '4. Does the audio engine fetch packets (GetReadPacket)?'
WaitFor 'Open Sound Recorder (or Voice Recorder), choose Microphone (TrueMute) as its microphone in Settings, and start a recording.'
Run "& '$program' unmute"
Fact 'ONE recorder. Pulls that rise by 100 a second: packets of 10 ms. None: packet mode is not used.'
Counts
WaitFor 'Open another program that records from Microphone (TrueMute), for instance a browser on webrtc.github.io/samples.'
Fact 'TWO recorders. Pulls as before: the audio engine is the only client of the driver.'
Counts
Run "& '$program' clients"

Part '5. Is the sound right, and is the mute?'
$said = Ask 'Speak. Does the level move in Settings, System, Sound, Microphone (TrueMute)? (y/n)'
Run "& '$program' mute"
$said = Ask 'And now, muted: does it stay still while you speak? (y/n)'
$said = Ask 'Is the microphone symbol of the real microphone gone from the taskbar, or does it name the recorders only? (y/n/-)'
Run "& '$program' status"

Part '6. Muted, the daemon killed: what do recorders get?'
WaitFor 'Start a new recording and keep speaking until this part is over: count aloud.'
Run "& '$program' unmute"
Start-Sleep -Seconds 5
Fact "MUTE at $(Get-Date -Format T)"
Run "& '$program' mute"
Start-Sleep -Seconds 5
Fact "UNMUTE at $(Get-Date -Format T)"
Run "& '$program' unmute"
Start-Sleep -Seconds 5
Fact "KILL of the daemon at $(Get-Date -Format T)"
Get-CimInstance Win32_Process -Filter "Name = 'truemute.exe'" | Where-Object CommandLine -match '\bdaemon\b' |
    ForEach-Object { Stop-Process -Id $_.ProcessId -Force; Fact "process $($_.ProcessId)" }
Start-Sleep -Seconds 8
WaitFor 'Stop the recording and play it.'
$said = Ask 'Is there silence from MUTE to UNMUTE, without clicks or old words? (y/n)'
$said = Ask 'Is there silence after the daemon was killed? (y/n)'
Run "& '$program' install --restart"
Run "& '$program' status"

Part '7. Sessions and events: who records?'
Run 'logman query providers Microsoft-Windows-Audio'
$trace = Join-Path $env:TEMP 'truemute-audio.etl'
Run "logman start truemute-audio -p Microsoft-Windows-Audio 0xffffffffffffffff 5 -o '$trace' -ets"
WaitFor 'Record from Microphone (TrueMute) for ten seconds in two programs at once.'
Run 'logman stop truemute-audio -ets'
$events = Get-WinEvent -Path $trace -Oldest -ErrorAction SilentlyContinue
Fact "EVENTS by number: $(($events | Group-Object Id | ForEach-Object { "$($_.Name): $($_.Count)" }) -join ', ')"
foreach ($number in 115, 160) {
    $events | Where-Object Id -eq $number | Select-Object -First 3 | ForEach-Object { Fact $_.ToXml() }
}
Remove-Item $trace -ErrorAction SilentlyContinue
Fact 'The same two, as the service passes them on while two programs record from Microphone (TrueMute), and what TrueMute makes of them.'
$passed = Join-Path $env:TEMP 'truemute-events.jsonl'
$listening = Start-Process -FilePath $program -ArgumentList 'driver', 'events' -RedirectStandardOutput $passed -WindowStyle Hidden -PassThru
Run "& '$program' stats --json"
WaitFor 'Record from Microphone (TrueMute) for ten seconds in two programs at once, and keep both recording.'
Run "& '$program' stats --json"
Stop-Process -Id $listening.Id
$lines = Get-Content $passed | ForEach-Object { $_ | ConvertFrom-Json }
Fact "PASSED ON by number: $(($lines.events | Group-Object id | ForEach-Object { "$($_.Name): $($_.Count)" }) -join ', ')"
Fact "LOST: $(($lines | Measure-Object lost -Sum).Sum); TROUBLE: $(($lines.trouble | Select-Object -Unique) -join ' ')"
foreach ($number in 115, 160) {
    $lines.events | Where-Object id -eq $number | Group-Object pid | ForEach-Object {
        Fact "event $number logged by process $($_.Name) ($((Get-Process -Id $_.Name -ErrorAction SilentlyContinue).ProcessName)): $($_.Count); first: $($_.Group[0] | ConvertTo-Json -Compress)"
    }
}
Remove-Item $passed -ErrorAction SilentlyContinue
WaitFor 'Start a recording from the REAL microphone.'
Run "& '$program' status"

Part '8. Which apps list it?'
foreach ($app in 'Teams', 'Zoom', 'Webex', 'Chrome', 'Edge') {
    $said = Ask "${app}: does it list it, and does the other side hear you through it (listed, heard / - for not tried)?"
}
$said = Ask 'A program that records in exclusive mode (Audacity with WASAPI, "exclusive"): does it get sound, and zeros while muted? (y/n/-)'

Part '9. Sleep'
WaitFor 'Start a recording from Microphone (TrueMute).'
Run "& '$program' unmute"
WaitFor 'Let the machine sleep for a minute, and wake it.'
Run "& '$program' status"
$said = Ask 'Is it muted now, as it must be after a sleep? (y/n)'
$said = Ask 'Has a recording sound after unmuting, without crackling? (y/n)'
Fact 'Another user next: not without a second account on this machine. Then answer -.'
Run "& '$program' unmute"
WaitFor 'Switch to another user without signing out (Win+L, the other name), record ten seconds from Microphone (TrueMute) there, and come back.'
$said = Ask 'Has the other user''s recording sound? It must be silence. (y/n/-)'
Run "& '$program' status"
$said = Ask 'Is it muted after coming back? (y/n/-)'

Part '10. What the logs say'
if ((Ask "Collect the system's log of the last hour into $Facts? (y/n)") -eq 'y') {
    Run 'Get-WinEvent -FilterHashtable @{ LogName = "System"; StartTime = (Get-Date).AddHours(-1) } | Where-Object Message -match "truemute|audio|bugcheck" | Format-List TimeCreated, ProviderName, Id, Message'
}

Part '11. Removing it'
if ((Ask 'Remove it again, to see whether that works? (y/n)') -eq 'y') {
    Run "& '$program' uninstall"
    Run "& '$program' driver remove"
    Start-Sleep -Seconds 3
    Run 'Get-PnpDevice -Class AudioEndpoint -PresentOnly | Format-Table Status, FriendlyName'
    Run 'driverquery | Select-String -Pattern truemute'
    Run 'sc.exe query TrueMuteEvents'
    $packages = Get-WindowsDriver -Online | Where-Object OriginalFileName -like '*\truemute.inf'
    foreach ($package in $packages) { Run "pnputil /delete-driver $($package.Driver)" }
    Fact "PACKAGES that were in the driver store: $(@($packages).Count)"
    Run 'pnputil /enum-drivers /class MEDIA'
    RemoveCertificate
} else {
    Fact 'It stays.'
}

Part '12. Driver Verifier, on a machine where the driver stayed'
Fact 'It looks over the driver''s shoulder and stops the machine with a blue screen at the first fault. It starts with the next restart.'
$stays = Get-PnpDevice -InstanceId ROOT\TRUEMUTE\* -ErrorAction SilentlyContinue
if (-not $stays) {
    Fact 'The driver was removed: there is nothing to look at.'
} elseif ((Ask 'Switch it on for truemute.sys? (y/n)') -eq 'y') {
    # Should the machine not start with it, it is off at the next start.
    Run 'verifier /bootmode resetonunusualshutdown'
    Run 'verifier /standard /driver truemute.sys'
    Fact 'After the restart: record for ten minutes, mute and unmute, sleep and wake, then run: verifier /query and verifier /reset'
}

Fact ''
Leave 0
