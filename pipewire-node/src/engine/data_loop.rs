//! The real-time thread, as the main thread may use it: by a call that runs there between two cycles and is waited for.
//! So the state of the nodes that run there needs no lock. What runs there by itself is in `sample/` and `aside/`.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use pipewire::context::ContextRc;

use crate::real_time::on_real_time_thread;

/// The real-time thread with the state `C` of one node, as the main thread may use it.
pub(super) struct DataLoop<C> {
    context: ContextRc,
    cycle: *mut C,
}

impl<C> DataLoop<C> {
    /// `cycle` is touched by nobody else but that thread, and outlives this.
    pub(super) fn new(context: ContextRc, cycle: *mut C) -> Self {
        Self { context, cycle }
    }

    /// The context that the data loop belongs to.
    pub(super) fn context(&self) -> &ContextRc {
        &self.context
    }

    /// Lets the thread put `number` into `answered` when it comes to it. Does not wait.
    pub(super) fn answer(&self, number: u64, answered: Arc<AtomicU64>) {
        unsafe extern "C" fn call(
            _loop: *mut pipewire::spa::sys::spa_loop,
            _async: bool,
            _seq: u32,
            data: *const std::ffi::c_void,
            _size: usize,
            user_data: *mut std::ffi::c_void,
        ) -> std::ffi::c_int {
            // SAFETY: `data` is the loop's copy of the number below, at whatever alignment; `user_data` is the reference that
            // was given away for this call. Others hold the value as long as the backend runs, so that it is not freed here.
            unsafe {
                let answered = Arc::from_raw(user_data.cast::<AtomicU64>());
                answered.store(data.cast::<u64>().read_unaligned(), Ordering::Relaxed);
            }
            0
        }
        let answered = Arc::into_raw(answered);
        // SAFETY: the loop copies the number; a call that was taken over is made once, or never if the loop ends before:
        // then the reference is lost, and its 24 bytes with it.
        unsafe {
            let data_loop = pipewire::sys::pw_context_get_data_loop(self.context.as_raw_ptr());
            let taken = pipewire::sys::pw_data_loop_invoke(
                data_loop,
                Some(call),
                0,
                std::ptr::from_ref(&number).cast(),
                size_of::<u64>(),
                false,
                answered.cast_mut().cast(),
            );
            if taken < 0 {
                // Not taken over: no answer.
                drop(Arc::from_raw(answered));
            }
        }
    }

    /// Runs `work` there and waits for it; nothing if the data loop refuses.
    pub(super) fn run<T>(&self, work: impl FnOnce(&mut C) -> T) -> Option<T> {
        struct Call<F, C, T> {
            work: Option<F>,
            cycle: *mut C,
            result: Option<T>,
        }
        unsafe extern "C" fn call<F: FnOnce(&mut C) -> T, C, T>(
            _loop: *mut pipewire::spa::sys::spa_loop,
            _async: bool,
            _seq: u32,
            _data: *const std::ffi::c_void,
            _size: usize,
            user_data: *mut std::ffi::c_void,
        ) -> std::ffi::c_int {
            // SAFETY: `user_data` is the Call below, whose owner waits; on this thread nothing else holds the cycle.
            unsafe {
                let call = &mut *user_data.cast::<Call<F, C, T>>();
                call.result =
                    on_real_time_thread(|| call.work.take().map(|work| work(&mut *call.cycle)));
            }
            0
        }
        fn trampoline<F: FnOnce(&mut C) -> T, C, T>(
            _: &Call<F, C, T>,
        ) -> pipewire::spa::sys::spa_invoke_func_t {
            Some(call::<F, C, T>)
        }
        let mut data = Call {
            work: Some(work),
            cycle: self.cycle,
            result: None,
        };
        let function = trampoline(&data);
        // SAFETY: a blocking invoke returns after the function has run on the data loop's thread, or was refused; `data`
        // lives until then.
        unsafe {
            let data_loop = pipewire::sys::pw_context_get_data_loop(self.context.as_raw_ptr());
            pipewire::sys::pw_data_loop_invoke(
                data_loop,
                function,
                0,
                std::ptr::null(),
                0,
                true,
                std::ptr::from_mut(&mut data).cast(),
            );
        }
        data.result
    }
}
