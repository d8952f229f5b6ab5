//! The main thread's event loop, without which the system delivers no hotkey (RegisterEventHotKey, Carbon's CarbonEvents.h). It
//! runs only where a hotkey is configured: without a window server, as in a login by ssh, there is none.

use std::sync::mpsc::sync_channel;
use std::thread;

use dispatch2::DispatchQueue;
use objc2::MainThreadMarker;
use objc2_app_kit::{
    NSApplication, NSApplicationActivationPolicy, NSEvent, NSEventModifierFlags, NSEventType,
};
use objc2_foundation::NSPoint;

/// Runs the event loop until `wait` has returned on a thread of its own. To be called from the main thread; from any other,
/// where no event ever comes, it only waits.
pub(crate) fn wait_beside_keys<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    let Some(main) = MainThreadMarker::new() else {
        return wait();
    };
    let application = NSApplication::sharedApplication(main);
    // No icon in the Dock, no menu; the bundle says the same by LSUIElement.
    application.setActivationPolicy(NSApplicationActivationPolicy::Accessory);
    let (sender, result) = sync_channel(1);
    let waiting = thread::spawn(move || {
        let _loop = StopsLoop;
        let _ = sender.send(wait());
    });
    loop {
        application.run();
        if let Ok(result) = result.try_recv() {
            return result;
        }
        if waiting.is_finished() {
            break;
        }
    }
    match waiting.join() {
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(()) => unreachable!("the result was sent before the thread ended"),
    }
}

/// Ends the event loop when it is dropped, also by a panic.
struct StopsLoop;

impl Drop for StopsLoop {
    fn drop(&mut self) {
        DispatchQueue::main().exec_async(|| {
            let Some(main) = MainThreadMarker::new() else {
                return;
            };
            let application = NSApplication::sharedApplication(main);
            application.stop(None);
            // The loop looks whether it was stopped after an event only (NSApplication, stop:).
            let nothing = NSEvent::otherEventWithType_location_modifierFlags_timestamp_windowNumber_context_subtype_data1_data2(
                NSEventType::ApplicationDefined,
                NSPoint::ZERO,
                NSEventModifierFlags::empty(),
                0.0,
                0,
                None,
                0,
                0,
                0,
            );
            if let Some(nothing) = nothing {
                application.postEvent_atStart(&nothing, true);
            }
        });
    }
}
