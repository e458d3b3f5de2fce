//! The threads that share the work of a kernel.
//!
//! NOTE [Threads]
//! A kernel cuts its work into tasks by shape alone, so its results do not depend on who does them.
//! Each thread has a share of the tasks, the same one in every region of the same size, so that it
//! finds in its cache what it left there; who is done with its own share takes from the others'.
//! So the calling thread does all that no helper has begun, and waits for nothing else. A helper
//! that finds nothing to do spins for a moment, because the next region is usually near, then
//! sleeps; it is woken only for work that outlasts the waking.
//! One region has the helpers at a time; what is called beside it, or within it, runs alone.
//!
//! NOTE [Cores]
//! A system that does not know which cores share a cache, as in some virtual machines, may wake a
//! helper on the caller's own core, where it runs only when the caller does not. So the caller takes its
//! core from those that a sleeping helper may run on, and the helper gives it back to itself when it
//! runs elsewhere.
//!
//! NOTE [Fork]
//! A child process has only the thread that forked. The pool belongs to a process, so a child finds
//! that it has none and makes its own.

use parking_lot::Mutex;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Work of less than so many nanoseconds is not shared.
const WORTH_SHARING: f64 = 10_000.0;

/// Work of so many nanoseconds is worth waking helpers for.
const WORTH_WAKING: usize = 150_000;

/// After so many microseconds without work to share, no more of it is expected to follow.
const LATELY: usize = 1_000;

/// How long a helper spins before it sleeps.
const SPIN: Duration = Duration::from_micros(200);

/// The least work of a task, in nanoseconds.
const GRAIN: f64 = 2_000.0;

/// Tasks for each thread: more even out threads that are held up, fewer cost less.
const TASKS: usize = 8;

/// The most threads that can be asked for.
const MOST: usize = 256;

/// How many threads share work; 0 until first asked for.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The pool of this process, never freed; null before its first region.
static POOL: AtomicPtr<Pool> = AtomicPtr::new(std::ptr::null_mut());

/// The address of elements that the tasks of a region write, each its own.
pub(super) struct Shared<T>(pub(super) *mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}

// SAFETY: an address alone; what is done with it has a comment of its own.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The address of an element.
    #[inline(always)]
    pub(super) fn at(self, i: usize) -> *mut T {
        self.0.wrapping_add(i)
    }

    /// Some of the elements.
    ///
    /// # Safety
    /// They are there, and nobody else refers to them while the slice lives.
    pub(super) unsafe fn slice<'a>(self, range: Range<usize>) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}

struct Pool {
    /// The process it belongs to: see NOTE [Fork].
    process: u32,
    /// Held by the region that has the helpers.
    taken: AtomicBool,
    /// Whether `job` may be entered.
    open: AtomicBool,
    /// Helpers within `job`, or about to look whether it is open.
    inside: AtomicUsize,
    /// The work of the region.
    job: UnsafeCell<Job>,
    /// For each share of the job.
    taken_of: [Taken; MOST],
    /// Helpers that sleep.
    asleep: AtomicU32,
    /// The work, in nanoseconds, that sleeping helpers have missed lately.
    missed: AtomicUsize,
    /// When they missed it, in microseconds since `start`.
    missed_at: AtomicUsize,
    start: Instant,
    helpers: Mutex<Vec<Helper>>,
}

/// What a thread does with the tasks that it takes.
type Run<'a> = dyn Fn(&mut dyn Iterator<Item = usize>) + Sync + 'a;

/// Tasks, and how they are shared.
struct Job {
    run: *const Run<'static>,
    tasks: usize,
    /// Into how many shares they are divided; helpers beyond this number keep out.
    shares: usize,
    panicked: AtomicBool,
}

/// How many tasks of a share have been taken, on a cache line of its own.
#[repr(align(64))]
struct Taken(AtomicUsize);

// SAFETY: `job` is written only by the region that holds `taken`, while it is closed and nobody is
// inside (see `Region`); `run` may be called from any thread.
unsafe impl Sync for Pool {}
// SAFETY: as above.
unsafe impl Send for Pool {}

/// How many threads share the work of a kernel: what [`set_num_threads`] was given, else the
/// environment variable `RUSTGRAD_NUM_THREADS`, else as many as this process may use.
pub fn num_threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => {
            let asked = std::env::var("RUSTGRAD_NUM_THREADS").ok();
            let asked = asked.and_then(|n| n.parse().ok()).filter(|&n| n > 0);
            let found = || std::thread::available_parallelism().map_or(1, usize::from);
            let n = asked.unwrap_or_else(found).min(MOST);
            THREADS.store(n, Ordering::Relaxed);
            n
        }
        n => n,
    }
}

/// Sets how many threads share the work of a kernel, 1 to 256. It changes no result.
pub fn set_num_threads(n: usize) {
    THREADS.store(n.clamp(1, MOST), Ordering::Relaxed);
}

/// Runs `f` on parts of `0..n` that start at multiples of `unit`, which together are all of it.
/// `cost` is about how many nanoseconds each of the `n` takes.
pub(super) fn ranges(n: usize, unit: usize, cost: f64, f: impl Fn(Range<usize>) + Sync) {
    let total = n as f64 * cost;
    let threads = num_threads();
    if total < WORTH_SHARING || threads == 1 {
        return f(0..n);
    }
    let grain = (n / (threads * TASKS)).max((GRAIN / cost) as usize);
    let grain = grain.div_ceil(unit).max(1) * unit;
    share(n.div_ceil(grain), total, &|tasks| {
        tasks.for_each(|i| f(i * grain..n.min((i + 1) * grain)));
    });
}

/// Runs `f(i)` for each `i` in `0..tasks`, in any order, at the same time where that pays. `cost` is
/// about how many nanoseconds a task takes.
pub(super) fn tasks(tasks: usize, cost: f64, f: impl Fn(usize) + Sync) {
    tasks_with(tasks, cost, || (), |(), i| f(i));
}

/// As [`tasks`], where each thread that takes part has a state of its own, which `init` makes.
pub(super) fn tasks_with<S>(
    tasks: usize,
    cost: f64,
    init: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, usize) + Sync,
) {
    let run = |tasks: &mut dyn Iterator<Item = usize>| {
        let mut state = init();
        tasks.for_each(|i| f(&mut state, i));
    };
    let total = tasks as f64 * cost;
    if total < WORTH_SHARING || num_threads() == 1 {
        return run(&mut (0..tasks));
    }
    share(tasks, total, &run);
}

fn share(tasks: usize, cost: f64, f: &Run<'_>) {
    let pool = pool();
    if tasks < 2 || pool.taken.swap(true, Ordering::Acquire) {
        return f(&mut (0..tasks));
    }
    let helpers = num_threads() - 1;
    pool.employ(helpers);
    // SAFETY: only the lifetime changes. The region closes the job and waits until nobody is
    // inside before it ends, also when it unwinds, so `f` outlives all calls.
    let run = unsafe { std::mem::transmute::<*const Run<'_>, *const Run<'static>>(f) };
    let shares = tasks.min(helpers + 1);
    for taken in &pool.taken_of[..shares] {
        taken.0.store(0, Ordering::Relaxed);
    }
    // SAFETY: this region holds `taken`, the job is closed and nobody is inside.
    unsafe {
        *pool.job.get() = Job {
            run,
            tasks,
            shares,
            panicked: AtomicBool::new(false),
        };
    }
    pool.open.store(true, Ordering::SeqCst);
    let region = Region(pool);
    if pool.asleep.load(Ordering::Relaxed) > 0 {
        pool.wake_for(cost, helpers);
    }
    // SAFETY: `job` is not written before the region has ended.
    let job = unsafe { &*pool.job.get() };
    pool.work(job, 0);
    region.close();
    assert!(
        !job.panicked.load(Ordering::Relaxed),
        "a helper panicked in a kernel"
    );
}

impl Job {
    /// The first task of a share.
    fn start(&self, share: usize) -> usize {
        self.tasks * share / self.shares
    }
}

/// An open job. It is closed, and left by all helpers, before this is gone.
struct Region<'a>(&'a Pool);

impl Region<'_> {
    fn close(&self) {
        // A helper first says that it is inside and then looks whether the job is open; here the
        // job is closed first. One of the two sees the other, since both are `SeqCst`.
        self.0.open.store(false, Ordering::SeqCst);
        let mut turns = 0u32;
        while self.0.inside.load(Ordering::SeqCst) != 0 {
            turns += 1;
            if turns < 2_000 {
                std::hint::spin_loop();
            } else {
                // The helper may be waiting for this very core.
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Region<'_> {
    fn drop(&mut self) {
        self.close();
        self.0.taken.store(false, Ordering::Release);
    }
}

impl Pool {
    /// Wakes helpers if so much work, in nanoseconds, has been done without them that waking them
    /// pays, should more of it follow.
    fn wake_for(&self, cost: f64, helpers: usize) {
        let now = self.start.elapsed().as_micros() as usize;
        let before = self.missed_at.swap(now, Ordering::Relaxed);
        let lately = if now.saturating_sub(before) < LATELY {
            self.missed.load(Ordering::Relaxed)
        } else {
            0
        };
        let missed = lately + cost as usize;
        if missed < WORTH_WAKING {
            self.missed.store(missed, Ordering::Relaxed);
            return;
        }
        self.missed.store(0, Ordering::Relaxed);
        for helper in self.helpers.lock().iter().take(helpers) {
            helper.seat.vacate_here();
            helper.thread.unpark();
        }
    }

    /// Does the tasks of a share, then what is left of the others'.
    fn work(&self, job: &Job, share: usize) {
        let shares = (share..job.shares).chain(0..share);
        let mut tasks = shares.flat_map(|share| {
            let (first, end) = (job.start(share), job.start(share + 1));
            let take = move || first + self.taken_of[share].0.fetch_add(1, Ordering::Relaxed);
            std::iter::repeat_with(take).take_while(move |&i| i < end)
        });
        // SAFETY: the function outlives the region, in which this is called.
        unsafe { (*job.run)(&mut tasks) };
    }

    /// Sees to it that there are at least `n` helpers; fewer if the system has no more threads.
    fn employ(&'static self, n: usize) {
        let mut helpers = self.helpers.lock();
        while helpers.len() < n {
            let number = helpers.len();
            let builder = std::thread::Builder::new().name(format!("rustgrad-{}", number + 1));
            let seat = Arc::new(Seat::default());
            let own = seat.clone();
            let Ok(thread) = builder.spawn(move || self.help(number, &own)) else {
                return;
            };
            helpers.push(Helper {
                thread: thread.thread().clone(),
                seat,
            });
        }
    }

    /// What helper `number` does all its life.
    fn help(&self, number: usize, seat: &Seat) {
        seat.take();
        let mut idle_since = Instant::now();
        loop {
            if self.open.load(Ordering::Relaxed) && self.enter(number) {
                idle_since = Instant::now();
            }
            for _ in 0..32 {
                if self.open.load(Ordering::Relaxed) {
                    break;
                }
                std::hint::spin_loop();
            }
            if idle_since.elapsed() > SPIN {
                self.asleep.fetch_add(1, Ordering::Relaxed);
                std::thread::park();
                self.asleep.fetch_sub(1, Ordering::Relaxed);
                seat.restore();
                idle_since = Instant::now();
            }
        }
    }

    /// Whether there are tasks that nobody has taken.
    fn is_left(&self, job: &Job) -> bool {
        (0..job.shares).any(|share| {
            let taken = self.taken_of[share].0.load(Ordering::Relaxed);
            job.start(share) + taken < job.start(share + 1)
        })
    }

    /// Takes part in the job, if it is still open; whether it had tasks left.
    fn enter(&self, number: usize) -> bool {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let mut worked = false;
        if self.open.load(Ordering::SeqCst) {
            // SAFETY: the job was open after this helper had said that it is inside, so the region
            // waits for it to leave.
            let job = unsafe { &*self.job.get() };
            let share = number + 1;
            worked = share < job.shares && self.is_left(job);
            if worked && catch_unwind(AssertUnwindSafe(|| self.work(job, share))).is_err() {
                job.panicked.store(true, Ordering::Relaxed);
            }
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
        worked
    }
}

struct Helper {
    thread: Thread,
    seat: Arc<Seat>,
}

/// Which cores a helper may run on: see NOTE [Cores]. Where the system does not say, or refuses, all
/// stays as it is.
struct Seat {
    /// The system's number of the thread; 0 before it runs.
    thread: AtomicI32,
    /// The core that was taken from it, or -1.
    vacated: AtomicI32,
}

impl Default for Seat {
    fn default() -> Self {
        Self {
            thread: AtomicI32::new(0),
            vacated: AtomicI32::new(-1),
        }
    }
}

#[cfg(target_os = "linux")]
impl Seat {
    /// This thread is the helper.
    fn take(&self) {
        // SAFETY: the call has no conditions.
        self.thread
            .store(unsafe { libc::gettid() }, Ordering::Release);
    }

    /// Takes the core of this thread from the helper, if it may run elsewhere.
    fn vacate_here(&self) {
        let thread = self.thread.load(Ordering::Acquire);
        // SAFETY: the call has no conditions.
        let here = unsafe { libc::sched_getcpu() };
        let vacates = |cores: &mut libc::cpu_set_t| {
            // SAFETY: the core is one that a set can hold.
            unsafe {
                let may_run_here = libc::CPU_ISSET(here as usize, cores);
                libc::CPU_CLR(here as usize, cores);
                may_run_here && libc::CPU_COUNT(cores) > 0
            }
        };
        if thread != 0
            && (0..libc::CPU_SETSIZE).contains(&here)
            && self.vacated.load(Ordering::Relaxed) < 0
            && change_cores(thread, vacates)
        {
            self.vacated.store(here, Ordering::Release);
        }
    }

    /// Gives this thread, the helper, its core back.
    fn restore(&self) {
        let core = self.vacated.swap(-1, Ordering::Acquire);
        if core >= 0 {
            change_cores(0, |cores| {
                // SAFETY: the core was in a set before.
                unsafe { libc::CPU_SET(core as usize, cores) };
                true
            });
        }
    }
}

/// Changes the cores that a thread may run on, if `f` says so; 0 is this thread.
#[cfg(target_os = "linux")]
fn change_cores(thread: libc::pid_t, f: impl FnOnce(&mut libc::cpu_set_t) -> bool) -> bool {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: a set of cores is plain bits, as large as is said.
    unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(thread, size, &mut cores) == 0
            && f(&mut cores)
            && libc::sched_setaffinity(thread, size, &cores) == 0
    }
}

#[cfg(not(target_os = "linux"))]
impl Seat {
    fn take(&self) {}
    fn vacate_here(&self) {}
    fn restore(&self) {}
}

/// The pool of this process.
fn pool() -> &'static Pool {
    let process = std::process::id();
    let found = POOL.load(Ordering::Acquire);
    // SAFETY: pools are never freed.
    match unsafe { found.as_ref() } {
        Some(pool) if pool.process == process => pool,
        _ => make_pool(process, found),
    }
}

#[cold]
fn make_pool(process: u32, found: *mut Pool) -> &'static Pool {
    let nothing: &'static Run<'static> = &|_| {};
    let pool = Box::into_raw(Box::new(Pool {
        process,
        taken: AtomicBool::new(false),
        open: AtomicBool::new(false),
        inside: AtomicUsize::new(0),
        job: UnsafeCell::new(Job {
            run: nothing,
            tasks: 0,
            shares: 0,
            panicked: AtomicBool::new(false),
        }),
        taken_of: [const { Taken(AtomicUsize::new(0)) }; MOST],
        asleep: AtomicU32::new(0),
        missed: AtomicUsize::new(0),
        missed_at: AtomicUsize::new(0),
        start: Instant::now(),
        helpers: Mutex::new(Vec::new()),
    }));
    let made = POOL.compare_exchange(found, pool, Ordering::AcqRel, Ordering::Acquire);
    let pool = match made {
        Ok(_) => pool,
        // Another thread was quicker.
        Err(other) => {
            // SAFETY: nobody else has seen this pool.
            drop(unsafe { Box::from_raw(pool) });
            other
        }
    };
    // SAFETY: pools are never freed.
    unsafe { &*pool }
}
