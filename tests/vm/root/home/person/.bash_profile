# A graphical session, as a display manager would start it.
[ "$(tty)" = /dev/tty1 ] && exec startx > ~/.startx.log 2>&1
