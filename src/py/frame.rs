//! Which line of the user's program is running.
//!
//! NOTE [Call sites]
//! A site is a code object and an instruction offset, interned; the line is looked up only when an
//! error is written. Frames of the package itself are skipped, so an op called from
//! `rustgrad/nn/modules/linear.py` is attributed to the user's line. The table keeps its code
//! objects alive, so their addresses stay unique; it holds at most [`MOST`] sites.
//!
//! This file uses CPython's frame functions directly: through `sys._getframe` the same look-up
//! costs several times as much, on every node. `docs/architecture.md` has the figures.

use crate::tape::provenance::{self, Provider, Site};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{ffi, intern};
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::sync::OnceLock;

/// Beyond this many sites, new ones are unknown.
const MOST: usize = 1 << 20;

/// The address of a code object, and a position in it.
type Key = (usize, i32);

#[derive(Default)]
struct Sites {
    by_key: FxHashMap<Key, u32>,
    /// Index `i` is site `i + 1`.
    all: Vec<(Py<PyAny>, i32)>,
    /// Whether a code object belongs to the package.
    internal: FxHashMap<usize, bool>,
}

static SITES: Mutex<Option<Sites>> = Mutex::new(None);
static PACKAGE: OnceLock<String> = OnceLock::new();

/// Registers Python as the provider of call sites.
pub(super) fn register(py: Python<'_>) -> PyResult<()> {
    *SITES.lock() = Some(Sites::default());
    // `.../rustgrad/_C.so` is being imported: its package directory is that of `rustgrad`.
    let package = py
        .import("rustgrad")?
        .getattr(intern!(py, "__path__"))?
        .get_item(0)?;
    let _ = PACKAGE.set(format!("{}/", package.extract::<String>()?));
    provenance::register(Provider { current, describe });
    Ok(())
}

/// A strong handle of a frame's code object, and where it is.
struct Frame<'py> {
    frame: Bound<'py, PyAny>,
}

impl<'py> Frame<'py> {
    /// The innermost Python frame.
    fn innermost(py: Python<'py>) -> Option<Self> {
        // SAFETY: the thread is attached; the result is a borrowed reference or null.
        let frame = unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyEval_GetFrame().cast()) };
        frame.map(|frame| Self { frame })
    }

    fn outer(&self) -> Option<Self> {
        // SAFETY: `self.frame` is a frame object; the result is an owned reference or null.
        let frame = unsafe {
            Bound::from_owned_ptr_or_opt(
                self.frame.py(),
                ffi::PyFrame_GetBack(self.frame.as_ptr().cast()).cast(),
            )
        };
        frame.map(|frame| Self { frame })
    }

    fn code(&self) -> Bound<'py, PyAny> {
        // SAFETY: `self.frame` is a frame object, which always has a code object; the result is an
        // owned reference.
        unsafe {
            Bound::from_owned_ptr(
                self.frame.py(),
                ffi::PyFrame_GetCode(self.frame.as_ptr().cast()).cast(),
            )
        }
    }

    /// The offset of the running instruction (Python 3.10 has no call for it: the line instead).
    fn position(&self) -> i32 {
        // SAFETY: `self.frame` is a frame object.
        #[cfg(Py_3_11)]
        unsafe {
            ffi::PyFrame_GetLasti(self.frame.as_ptr().cast())
        }
        // SAFETY: as above.
        #[cfg(not(Py_3_11))]
        unsafe {
            ffi::PyFrame_GetLineNumber(self.frame.as_ptr().cast())
        }
    }

    fn key(&self) -> Key {
        (self.code().as_ptr() as usize, self.position())
    }
}

fn line(code: &Bound<'_, PyAny>, position: i32) -> i32 {
    if cfg!(not(Py_3_11)) {
        return position;
    }
    // SAFETY: `code` came out of a frame, so it is a code object; an offset it does not have gives
    // -1.
    unsafe { ffi::PyCode_Addr2Line(code.as_ptr().cast(), position) }
}

/// Places of [`RECENT`].
const PLACES: usize = 64;

thread_local! {
    /// Sites of innermost frames that this thread asked for lately, found without the table's lock.
    static RECENT: [Cell<(Key, u32)>; PLACES] = const { [const { Cell::new(((0, 0), 0)) }; PLACES] };
}

/// Where a site is in [`RECENT`], if it is there.
fn place((address, position): Key) -> usize {
    // Code objects lie at multiples of 16, instructions at multiples of 2.
    (address >> 4 ^ position as usize >> 1) % PLACES
}

fn current() -> Site {
    Python::try_attach(|py| {
        let Some(frame) = Frame::innermost(py) else {
            return Site(0);
        };
        let key = frame.key();
        let (recent, site) = RECENT.with(|places| places[place(key)].get());
        if recent == key {
            return Site(site);
        }
        let site = look_up(frame);
        if site.is_own {
            RECENT.with(|places| places[place(key)].set((key, site.number)));
        }
        Site(site.number)
    })
    .unwrap_or_default()
}

/// A site from the table.
struct Found {
    number: u32,
    /// Whether it lies in the innermost frame, rather than in one that called the package.
    is_own: bool,
}

/// The site of the innermost frame outside of the package.
fn look_up(innermost: Frame<'_>) -> Found {
    let found = |number, is_own| Found { number, is_own };
    let mut sites = SITES.lock();
    let Some(sites) = sites.as_mut() else {
        return found(0, false);
    };
    let mut is_own = true;
    let mut frame = Some(innermost);
    while let Some(f) = frame {
        let code = f.code();
        let key = f.key();
        if let Some(&site) = sites.by_key.get(&key) {
            return found(site, is_own);
        }
        let internal = match sites.internal.get(&key.0) {
            Some(&internal) => internal,
            None => {
                let internal = is_internal(&code);
                if sites.internal.len() < MOST {
                    sites.internal.insert(key.0, internal);
                    // Keeps the code object, so that its address is not reused.
                    sites.all.push((code.clone().unbind(), -1));
                }
                internal
            }
        };
        if !internal {
            if sites.all.len() >= MOST {
                return found(0, false);
            }
            sites.all.push((code.unbind(), key.1));
            let site = sites.all.len() as u32;
            sites.by_key.insert(key, site);
            return found(site, is_own);
        }
        is_own = false;
        frame = f.outer();
    }
    found(0, false)
}

fn is_internal(code: &Bound<'_, PyAny>) -> bool {
    let py = code.py();
    code.getattr(intern!(py, "co_filename"))
        .ok()
        .and_then(|f| f.cast_into::<PyString>().ok())
        .and_then(|f| {
            f.to_str()
                .ok()
                .map(|f| PACKAGE.get().is_some_and(|p| f.starts_with(p)))
        })
        .unwrap_or(false)
}

fn describe(site: Site) -> Option<String> {
    Python::try_attach(|py| {
        let (code, position) = {
            let sites = SITES.lock();
            let (code, position) = sites.as_ref()?.all.get(site.0.checked_sub(1)? as usize)?;
            (code.clone_ref(py), *position)
        };
        let code = code.bind(py);
        let file: String = code
            .getattr(intern!(py, "co_filename"))
            .ok()?
            .extract()
            .ok()?;
        Some(format!("{file}:{}", line(code, position)))
    })?
}
