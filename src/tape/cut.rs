//! Why a tensor has no history although it was computed from tensors that have one.
//!
//! NOTE [Cuts]
//! Where a history ends, the result notes how and on which line; what is computed from it inherits the
//! note. It fits into four bytes of the tensor that would be padding.

use super::provenance::{Site, op_name};

/// How a history ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutBy {
    /// `detach()` or `.data`.
    Detach,
    /// Recording was off.
    NoGrad,
    /// An op without a gradient: `argmax`, a comparison, a cast to integers.
    NotDifferentiable,
    /// A backward that was not recorded.
    Backward,
}

/// See NOTE [Cuts].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut(pub(crate) u32);

const SITE_BITS: u32 = 20;
const OP_BITS: u32 = 9;

impl Cut {
    /// A cut by op number `op`, here.
    pub fn here(by: CutBy, op: u32) -> Self {
        Self::at(by, op, Site::current())
    }

    /// A cut by op number `op`. Sites and ops beyond what fits are unknown.
    pub fn at(by: CutBy, op: u32, site: Site) -> Self {
        let fits = |value: u32, bits: u32| if value >> bits == 0 { value } else { 0 };
        let kind = match by {
            CutBy::Detach => 1,
            CutBy::NoGrad => 2,
            CutBy::NotDifferentiable => 3,
            CutBy::Backward => 4,
        };
        // Number 0 stands for an unknown op.
        let op = fits(op.wrapping_add(1), OP_BITS);
        let site = fits(site.0, SITE_BITS);
        Self(kind << (SITE_BITS + OP_BITS) | op << SITE_BITS | site)
    }

    /// Whether there is none.
    #[inline]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// How it came about.
    pub fn by(self) -> Option<CutBy> {
        match self.0 >> (SITE_BITS + OP_BITS) {
            1 => Some(CutBy::Detach),
            2 => Some(CutBy::NoGrad),
            3 => Some(CutBy::NotDifferentiable),
            4 => Some(CutBy::Backward),
            _ => None,
        }
    }

    /// Where.
    pub fn site(self) -> Site {
        Site(self.0 & ((1 << SITE_BITS) - 1))
    }

    /// The op, if it is known.
    pub fn op(self) -> Option<&'static str> {
        let op = self.0 >> SITE_BITS & ((1 << OP_BITS) - 1);
        op.checked_sub(1).map(op_name)
    }

    /// A clause about it: `its history ends at detach() at file:line`.
    pub fn describe(self) -> Option<String> {
        let at = self.site().at();
        let op = self.op().unwrap_or("an op");
        Some(match self.by()? {
            CutBy::Detach => format!("its history ends with detach() or .data{at}"),
            CutBy::NoGrad => {
                format!("its history ends where {op} ran without recording (no_grad){at}")
            }
            CutBy::NotDifferentiable => {
                let op = if op == "to_dtype" {
                    "a cast to integers"
                } else {
                    op
                };
                format!("its history ends with {op}, which has no gradient{at}")
            }
            CutBy::Backward => {
                format!("it comes from a gradient computed without create_graph=True{at}")
            }
        })
    }
}
