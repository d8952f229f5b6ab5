//! What the host's real-time threads call does not allocate (promise P6): reads with every outcome, and the clock, while the
//! thread's allocations are counted.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use truemute_bridge::client::{Client, ClientError, Connected, Watcher};
use truemute_bridge::message::Event;
use truemute_hal::device::Device;
use truemute_hal::input;
use truemute_hal::seats::MOST;

struct Deaf;

impl Watcher for Deaf {
    fn event(&mut self, _event: Event) {}
    fn lost(&mut self, _why: ClientError) {}
}

#[test]
fn reads_and_the_clock_do_not_allocate() {
    let folder = tempfile::tempdir().expect("a folder");
    let user = rustix::process::geteuid().as_raw();
    let device = Arc::new(Device::new());
    device.clients().add(1, 10, None);
    let mut buffer = vec![0xff_u8; 512 * 8];
    let mut read = |client, sample_time: Option<f64>| {
        input::read(&device, client, 512, sample_time, &mut buffer);
        buffer.iter().any(|byte| *byte != 0)
    };

    // Nobody connected; positions that are none; a client that nobody introduced.
    let muted = allocation_counter::measure(|| {
        for sample_time in [Some(0.0), Some(f64::NAN), Some(-1.0), None] {
            assert!(!read(1, sample_time));
        }
        assert!(!read(77, Some(0.0)));
        black_box(device.zero_time_stamp());
        black_box(device.clients().running());
    });
    assert_eq!(muted.count_total, 0, "{muted:?}");

    device.open_bridge(folder.path(), Box::new(move || Ok(Some(user))));
    let connected = std::iter::repeat_with(|| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        Client::connect(folder.path(), &[user], Box::new(Deaf))
    });
    let Connected {
        client, mut ring, ..
    } = connected
        .take(2000)
        .find_map(Result::ok)
        .expect("a connection");

    // Live; a position that is not written; and, once the lease has run out on a busy machine, silence: tried until live.
    let mut was_live = false;
    for attempt in 1..1000 {
        let position = attempt * 50_000;
        let opened = client.unmute().expect("the device answers");
        ring.begin(opened.epoch, position, opened.opened_ns);
        ring.write(&[[0.25, -0.25]; 512]);
        let counted = allocation_counter::measure(|| {
            was_live = read(1, Some(position as f64));
            assert!(!read(1, Some(position as f64 + 1.0)));
        });
        assert_eq!(counted.count_total, 0, "{counted:?}");
        if was_live {
            break;
        }
    }
    assert!(was_live);
}

#[test]
fn a_read_while_clients_come_and_go_does_not_allocate() {
    let device = Device::new();
    let begin = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            begin.wait();
            for id in 0..2000 {
                device.clients().add(id % 8, 1, Some("org.example".into()));
                device.clients().remove(id % 8);
            }
        });
        let mut buffer = [0xff_u8; 64];
        begin.wait();
        let counted = allocation_counter::measure(|| {
            for id in 0..20_000 {
                input::read(&device, id % 8, 8, Some(0.0), &mut buffer);
                input::read(&device, MOST as u32 + id, 8, Some(0.0), &mut buffer);
            }
        });
        assert_eq!(counted.count_total, 0, "{counted:?}");
    });
}
