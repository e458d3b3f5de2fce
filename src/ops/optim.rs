//! Steps of optimisers on lists of tensors, each in one call.
//!
//! They are not ops of the table: nothing is recorded, and they only run where nothing could be.

use super::{dispatch, writable};
use crate::backend::{self, Update, View};
use crate::base::{DType, Device, Result};
use crate::tape::{Site, Taint, mode, provenance, saved};
use crate::tensor::Tensor;

/// Applies a rule to several lists of tensors, whose `i`-th elements belong together. `written` says
/// which of the lists the rule changes.
///
/// `false`, and nothing has been done, where the tensors do not allow it: it takes CPU tensors of
/// `f32` or `f64`, all of one type, dense, those that belong together of one shape, and no two that
/// are written the same; with nothing to record.
///
/// # Errors
/// When a tensor must not be written; nothing is changed then.
pub fn update(rule: &Update, lists: &[&[Tensor]], written: &[bool]) -> Result<bool> {
    let Some(first) = lists[0].first() else {
        return Ok(true);
    };
    let dtype = first.dtype();
    let fits = |t: &Tensor, like: &Tensor| {
        t.device() == Device::Cpu
            && t.dtype() == dtype
            && t.is_contiguous()
            && t.shape() == like.shape()
    };
    let plain = matches!(dtype, DType::F32 | DType::F64)
        && !mode::grad_enabled()
        && mode::open_levels() == 0
        && mode::taint() == Taint::Off
        && lists
            .iter()
            .all(|list| list.iter().zip(lists[0]).all(|(t, like)| fits(t, like)));
    if !plain || !are_distinct(lists, written) {
        return Ok(false);
    }
    let targets = || {
        let some = lists.iter().zip(written).filter(|(_, written)| **written);
        some.flat_map(|(list, _)| list.iter())
    };
    for t in targets() {
        writable::check(t, false)?;
        saved::before_write(t.storage())?;
    }
    let tensors: Vec<Vec<View>> = (0..lists[0].len())
        .map(|i| lists.iter().map(|list| list[i].as_view()).collect())
        .collect();
    let backend = backend::of(Device::Cpu)?;
    dispatch::unlocked(targets().map(Tensor::numel).sum(), || {
        backend.update(rule, &tensors);
    });
    let site = Site::current().0;
    targets().for_each(|t| t.storage().bump(provenance::OPTIMIZER, site));
    Ok(true)
}

/// Whether no tensor that is written shares its storage with another one.
fn are_distinct(lists: &[&[Tensor]], written: &[bool]) -> bool {
    let mut storages: Vec<(usize, bool)> = lists
        .iter()
        .zip(written)
        .flat_map(|(list, &written)| {
            list.iter()
                .map(move |t| (t.storage().as_ptr() as usize, written))
        })
        .collect();
    storages.sort_unstable();
    storages
        .windows(2)
        .all(|pair| pair[0].0 != pair[1].0 || !(pair[0].1 || pair[1].1))
}
