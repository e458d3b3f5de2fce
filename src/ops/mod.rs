//! What each op is, declared once, and the one door through which every call goes.
//!
//! A family of ops is a file: its [`OpDef`]s, the Rust functions that call them, and the list
//! that joins [`OP_TABLE`].

/// The Rust functions of a family: `name(tensor inputs; other arguments) = DEF;`.
macro_rules! functions {
    ($( $(#[$doc:meta])* $name:ident($($x:ident),* $(; $($a:ident),*)?) = $def:path; )*) => { $(
        $(#[$doc])*
        ///
        /// The Python function of the same name documents the arguments.
        ///
        /// # Errors
        /// When shapes, types or values do not fit; nothing is changed then.
        #[allow(clippy::too_many_arguments)]
        pub fn $name(
            $($x: impl Into<$crate::tensor::Operand>,)*
            $($($a: impl Into<$crate::base::Attr>),*)?
        ) -> $crate::base::Result<$crate::tensor::Tensor> {
            $crate::ops::dispatch::run1(
                &$def,
                &[$($x.into()),*],
                &functions!(@attrs $($($a),*)?),
            )
        }
    )* };
    (@attrs) => { $crate::base::Attrs::new() };
    (@attrs $($a:ident),+) => {{
        let mut attrs = $crate::base::Attrs::new();
        $( attrs.push($a); )+
        attrs
    }};
}

pub mod activation;
pub mod arithmetic;
pub mod compare;
pub mod condition;
pub mod copy;
pub mod create;
pub mod cross_entropy;
pub mod def;
pub mod dispatch;
pub mod dropout;
pub mod einsum;
pub mod extrema;
pub mod gate;
pub mod gather;
mod growth;
pub mod in_place;
pub mod index;
pub mod join;
pub mod limits;
pub mod logical;
pub mod lookup;
pub mod loss;
pub mod matmul;
pub mod meta;
pub mod norm;
pub mod observe;
pub mod optim;
pub mod power;
pub mod products;
pub mod random;
mod record;
pub mod reduce;
pub mod region;
pub mod rounding;
pub mod scan;
pub mod shape;
pub mod softmax;
pub mod sort;
pub mod split;
pub mod statistics;
pub mod strided;
pub mod subscript;
pub mod table;
pub mod taint;
pub mod unary;
pub mod view;
pub mod writable;

pub use activation::*;
pub use arithmetic::*;
pub use compare::*;
pub use condition::*;
pub use copy::*;
pub use def::{
    Batch, Call, Choice, Cost, Forms, Grad, Jvp, JvpCx, Kernel, KernelCx, OpDef, Promote, Returns,
    Spec,
};
pub use extrema::*;
pub use gather::*;
pub use index::*;
pub use join::*;
pub use limits::*;
pub use logical::*;
pub use lookup::*;
pub use matmul::*;
pub use power::*;
pub use products::*;
pub use reduce::*;
pub use region::*;
pub use rounding::*;
pub use scan::*;
pub use shape::*;
pub use softmax::*;
pub use sort::argsort;
pub use split::*;
pub use statistics::*;
pub use strided::*;
pub use subscript::*;
pub use table::OP_TABLE;
pub use unary::*;
pub use view::*;
