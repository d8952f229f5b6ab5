//! `truemute top`: the live table on a terminal. This file owns the terminal and the threads; what is known lives in
//! `model`, how it looks in `view`.
//!
//! Three threads feed one channel: the daemon's reports, the keyboard, signals. A command goes out on a thread of its
//! own, so that the screen never waits for the daemon.

mod model;
#[cfg(test)]
mod picture;
mod rates;
mod table;
mod view;

use std::io::{IsTerminal as _, stdin, stdout};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::protocol::{ErrorObject, GateState, Switched, WatchEvent};
use crate::report::Page;
use crate::system::Ends;
use model::{Ask, Key, Model, News};

/// How long to wait before a daemon that is not there is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// How often the screen is looked at without news: times run on, and silence has to be noticed.
const TICK: Duration = Duration::from_millis(250);

/// What `top` needs of a daemon. Called from threads of `top`, several at a time.
pub trait Daemon: Send + Sync + 'static {
    /// Connects, and gives each report to `take` until it breaks off or the connection ends. Returns why it ended, in
    /// words for people.
    fn watch(
        &self,
        interval_ms: u32,
        take: &mut dyn FnMut(WatchEvent) -> ControlFlow<()>,
    ) -> String;

    /// Mutes or unmutes, and waits for the reply.
    fn switch(&self, to: GateState) -> Result<Switched, ErrorObject>;
}

/// Why `top` could not run.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Standard input or output is a file or a pipe: wrong usage.
    #[error("top needs a terminal. To read the same elsewhere, use `truemute watch`.")]
    NotATerminal,
    /// The terminal failed.
    #[error("the terminal cannot be used: {0}. To read the same elsewhere, use `truemute watch`.")]
    Terminal(#[from] std::io::Error),
}

/// Shows `daemon` on this process's terminal until the person quits or the process is told to end (SIGTERM, SIGINT,
/// SIGHUP). The terminal is left as it was, after a panic too. Call it last: one thread of it waits for keys until the
/// process ends.
pub fn run(daemon: impl Daemon) -> Result<(), TopError> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(TopError::NotATerminal);
    }
    let daemon = Arc::new(daemon);
    let (sender, news) = channel();
    let connection = Arc::new(AtomicU64::new(0));
    forward_signals(sender.clone())?;
    let mut terminal = ratatui::try_init()?;
    forward_keys(sender.clone());
    forward_reports(Arc::clone(&daemon), Arc::clone(&connection), sender.clone());
    let result = show(&mut terminal, &news, |ask| match ask {
        Ask::Switch(to) => command(Arc::clone(&daemon), to, sender.clone()),
        Ask::Reconnect => _ = connection.fetch_add(1, Ordering::Relaxed),
        Ask::Quit => {}
    });
    ratatui::try_restore()?;
    result
}

/// Draws after each piece of news until it is asked to quit.
fn show(
    terminal: &mut DefaultTerminal,
    news: &Receiver<News>,
    mut ask: impl FnMut(Ask),
) -> Result<(), TopError> {
    let mut model = Model::new();
    loop {
        let page = Page::of_stdout();
        terminal.draw(|frame| view::draw(&model, &page, frame))?;
        let first = match news.recv_timeout(TICK) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        // All that waits is taken in before the next drawing, so that the screen never lags behind.
        for piece in first.into_iter().chain(news.try_iter()) {
            match model.update(piece, Instant::now()) {
                Some(Ask::Quit) => return Ok(()),
                Some(other) => ask(other),
                None => {}
            }
        }
        model.tick(Instant::now());
    }
}

fn forward_signals(to: Sender<News>) -> Result<(), TopError> {
    let mut ends = Ends::new()?;
    thread::spawn(move || {
        while ends.wait().is_some() {
            if to.send(News::End).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn forward_keys(to: Sender<News>) {
    thread::spawn(move || {
        loop {
            let news = match event::read() {
                Ok(Event::Key(key)) => meaning(key).map(News::Key),
                Ok(Event::Resize(..)) => Some(News::Resized),
                Ok(_) => None,
                // The terminal has gone.
                Err(_) => Some(News::End),
            };
            let ended = matches!(news, Some(News::End));
            if news.is_some_and(|news| to.send(news).is_err()) || ended {
                return;
            }
        }
    });
}

fn meaning(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    // A held key must not toggle on and on; the other keys may repeat.
    let held = key.kind == KeyEventKind::Repeat;
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char('m') if !held => Some(Key::Switch),
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('r') => Some(Key::Reverse),
        KeyCode::Char('?') | KeyCode::Char('h') => Some(Key::Help),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::PageUp => Some(Key::PageUp),
        KeyCode::PageDown => Some(Key::PageDown),
        KeyCode::Left => Some(Key::SortLeft),
        KeyCode::Right => Some(Key::SortRight),
        _ => None,
    }
}

/// Watches the daemon again and again; each change of `connection` ends the present watch.
fn forward_reports(daemon: Arc<impl Daemon>, connection: Arc<AtomicU64>, to: Sender<News>) {
    thread::spawn(move || {
        let _end = EndOnPanic(to.clone());
        loop {
            let mine = connection.load(Ordering::Relaxed);
            let why = daemon.watch(model::INTERVAL_MS, &mut |event| {
                if connection.load(Ordering::Relaxed) != mine
                    || to.send(News::Event(Box::new(event))).is_err()
                {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            if connection.load(Ordering::Relaxed) != mine {
                continue;
            }
            if to.send(News::Gone(why)).is_err() {
                return;
            }
            thread::sleep(RETRY);
        }
    });
}

/// A panic restores the terminal first of all; drawing on would leave a screen that nothing renews.
struct EndOnPanic(Sender<News>);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(News::End);
        }
    }
}

fn command(daemon: Arc<impl Daemon>, gate: GateState, to: Sender<News>) {
    thread::spawn(move || {
        let _end = EndOnPanic(to.clone());
        // If nobody listens any more, the person has quit.
        let _ = to.send(News::Reply(daemon.switch(gate)));
    });
}
