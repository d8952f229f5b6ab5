-- Installed by truemute (truemute uninstall removes it). The script says what it does.
load_script("truemute-targets.lua")
