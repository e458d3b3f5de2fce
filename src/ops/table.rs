//! Every op of the crate, in one list.

use super::def::{Jvp, Kernel, OpDef};
use super::dispatch;
use crate::base::{Attrs, Result};
use crate::tape::{Outputs, Rule, VjpCx};
use crate::tensor::{Operand, Tensor};
use rustc_hash::FxHashMap;
use std::sync::{LazyLock, OnceLock};

pub use super::arithmetic::ADD;
pub use super::copy::COPY;
pub use super::region::VIEW_SCATTER;

/// The families, in the order of the documentation.
static FAMILIES: &[&[&OpDef]] = &[
    super::activation::OPS,
    super::arithmetic::OPS,
    super::compare::OPS,
    super::condition::OPS,
    super::copy::OPS,
    super::create::OPS,
    super::cross_entropy::OPS,
    super::dropout::OPS,
    super::einsum::OPS,
    super::extrema::OPS,
    super::gate::OPS,
    super::gather::OPS,
    super::index::OPS,
    super::join::OPS,
    super::limits::OPS,
    super::logical::OPS,
    super::lookup::OPS,
    super::loss::OPS,
    super::matmul::OPS,
    super::norm::OPS,
    super::power::OPS,
    super::products::OPS,
    super::random::OPS,
    super::reduce::OPS,
    super::region::OPS,
    super::rounding::OPS,
    super::scan::OPS,
    super::shape::OPS,
    super::softmax::OPS,
    super::sort::OPS,
    super::split::OPS,
    super::statistics::OPS,
    super::strided::OPS,
    super::subscript::OPS,
    super::unary::OPS,
    super::view::OPS,
];

/// Every op.
pub static OP_TABLE: LazyLock<Vec<&'static OpDef>> = LazyLock::new(|| {
    crate::tape::provenance::register_op_names(|i| {
        OP_TABLE.get(i as usize).map_or("an op", |op| op.name)
    });
    FAMILIES
        .iter()
        .flat_map(|family| family.iter().copied())
        .collect()
});

/// The op of a name.
pub fn find(name: &str) -> Option<&'static OpDef> {
    static BY_NAME: OnceLock<FxHashMap<&'static str, &'static OpDef>> = OnceLock::new();
    BY_NAME
        .get_or_init(|| OP_TABLE.iter().map(|op| (op.name, *op)).collect())
        .get(name)
        .copied()
}

impl Rule for OpDef {
    /// The name of what was called: the kernel of `softmax` goes by its name.
    fn name(&self) -> &'static str {
        self.name.strip_suffix("_exact").unwrap_or(self.name)
    }

    fn number(&self) -> u32 {
        static NUMBERS: LazyLock<FxHashMap<usize, u32>> = LazyLock::new(|| {
            let address = |op: &&OpDef| std::ptr::from_ref(*op) as usize;
            OP_TABLE
                .iter()
                .enumerate()
                .map(|(i, op)| (address(op), i as u32))
                .collect()
        });
        NUMBERS
            .get(&(std::ptr::from_ref(self) as usize))
            .copied()
            .unwrap_or(u32::MAX)
    }

    /// `log_softmax` becomes `LogSoftmaxBackward0`.
    fn node_name(&self) -> String {
        let words = self.name().split(['_', '.']).filter(|w| !w.is_empty());
        let camel: String = words
            .map(|w| {
                let (head, tail) = w.split_at(1);
                head.to_uppercase() + tail
            })
            .collect();
        camel + "Backward0"
    }

    fn is_elementwise(&self) -> bool {
        matches!(self.jvp, Jvp::Elementwise) || self.is_map()
    }

    fn parameters(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let signature = self.sig.first().copied().unwrap_or("()");
        let inner = signature.trim_start_matches('(').split(')').next();
        let params = inner
            .unwrap_or("")
            .split(',')
            .map(|p| p.trim().trim_start_matches('*'));
        let (mut inputs, mut others) = (Vec::new(), Vec::new());
        for param in params.filter(|p| !p.is_empty()) {
            let (name, kind) = param.split_once(':').unwrap_or((param, "Tensor"));
            if kind.trim_start().starts_with("Tensor") {
                inputs.push(name);
            } else {
                others.push(name);
            }
        }
        (inputs, others)
    }

    fn takes_grad(&self, i: usize) -> bool {
        self.grad(i).is_some_and(|grad| grad.takes_grad)
    }

    fn vjp(&self, cx: &VjpCx, i: usize) -> Result<Option<Tensor>> {
        let grad = self.grad(i).expect("only inputs with a rule have edges");
        (grad.vjp)(cx)
    }

    fn apply(&self, inputs: &[Operand], attrs: &Attrs) -> Result<Outputs> {
        // `self` is an entry of the table: entries are the only implementors and all are static.
        let op = OP_TABLE
            .iter()
            .copied()
            .find(|op| std::ptr::eq(*op, self))
            .expect("a table entry");
        match (op.kernel, inputs) {
            (Kernel::View(_), [Operand::Tensor(x)]) => super::strided::review(op, x, attrs),
            _ => dispatch::run(op, inputs, attrs),
        }
    }
}

impl OpDef {
    /// Whether the op has an in-place form that writes through its own kernel.
    pub fn is_map(&self) -> bool {
        matches!(self.kernel, Kernel::Map { .. } | Kernel::Choose(_))
    }
}
