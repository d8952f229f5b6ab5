-- Which source apps get while no daemon serves TrueMute Microphone; the script says more.
load_script("truemute-targets.lua")
