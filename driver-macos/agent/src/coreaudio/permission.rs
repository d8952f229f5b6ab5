//! Whether this process may hear microphones, by AVFoundation (AVCaptureDevice.h). The system remembers the answer for the app
//! bundle whose Info.plist has NSMicrophoneUsageDescription.

use block2::RcBlock;
use objc2_av_foundation::{AVAuthorizationStatus, AVCaptureDevice, AVMediaTypeAudio};
use truemute_agent::system::Permission;

/// What the user answered.
pub(super) fn status() -> Permission {
    // SAFETY: a constant of the framework.
    let Some(audio) = (unsafe { AVMediaTypeAudio }) else {
        return Permission::NotAsked;
    };
    // SAFETY: the media type is one of the two that the method knows.
    match unsafe { AVCaptureDevice::authorizationStatusForMediaType(audio) } {
        AVAuthorizationStatus::Authorized => Permission::Granted,
        AVAuthorizationStatus::NotDetermined => Permission::NotAsked,
        _ => Permission::Denied,
    }
}

/// Asks the user. The answer is found by [`status`].
pub(super) fn ask() {
    let done = RcBlock::new(|_granted| {});
    // SAFETY: a constant of the framework.
    if let Some(audio) = unsafe { AVMediaTypeAudio } {
        // SAFETY: the media type is one of the two that the method knows; the block may be called on any thread, and is kept by
        // the method until then.
        unsafe { AVCaptureDevice::requestAccessForMediaType_completionHandler(audio, &done) };
    }
}
