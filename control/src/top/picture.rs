//! Pictures of the screen for the README, drawn from the same buffer as the screen, so that they cannot grow old.

use std::time::Instant;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::model::{Model, News};
use super::view;
use crate::picture::assert_current;
use crate::protocol::{GateState, Stats, Status, WatchEvent};
use crate::report::samples;

/// A day with two browsers, a recorder and a level meter.
fn day(gate: GateState) -> (Status, Stats) {
    let mut status = match gate {
        GateState::Live => samples::live(),
        GateState::Muted => samples::muted(),
    };
    let mut stats = samples::stats();
    stats.clients.retain(|client| client.id != 2);
    stats.clients[1].state = truemute_core::observed::ClientState::Running;
    stats.clients[1].counted_by = truemute_core::observed::CountedBy::ActivationRecord;
    stats.clients[1].exact = true;
    stats.clients[1].lost = 0;
    let mut chromium = samples::client(2, "Chromium", "RecordStream");
    chromium.who.pid = Some(6011);
    stats.clients.insert(1, chromium);
    status.clients = stats.clients.len() as u32;
    (status, stats)
}

fn picture(gate: GateState) -> Buffer {
    let (status, stats) = day(gate);
    let mut before = stats.clone();
    before.until = "2026-11-22T08:03:57Z".into();
    for client in before
        .clients
        .iter_mut()
        .filter(|client| client.last_pull.is_some())
    {
        let pulls = match gate {
            GateState::Live => &mut client.live.pulls,
            GateState::Muted => &mut client.muted.pulls,
        };
        *pulls -= 469;
    }
    let mut model = Model::new();
    for event in [
        WatchEvent::State(status),
        WatchEvent::Counts(before),
        WatchEvent::Counts(stats),
    ] {
        model.update(News::Event(Box::new(event)), Instant::now());
    }
    let mut terminal = Terminal::new(TestBackend::new(96, 16)).expect("a buffer in memory");
    let page = samples::page(Some(96));
    terminal
        .draw(|frame| view::draw(&model, &page, frame))
        .expect("a buffer in memory");
    terminal.backend().buffer().clone()
}

#[test]
fn pictures_are_current() {
    assert_current("top-muted.svg", &picture(GateState::Muted));
    assert_current("top-live.svg", &picture(GateState::Live));
}
