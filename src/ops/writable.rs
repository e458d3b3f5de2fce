//! Which tensors may be written in place.

use crate::base::Result;
use crate::tape::mode;
use crate::tensor::{Creation, Tensor, ViewInfo};
use crate::{bail, ensure};

/// PyTorch's conditions for writing a tensor in place, in its sentences.
///
/// # Errors
/// When the tensor must not be written.
pub fn check(x: &Tensor, recorded: bool) -> Result<()> {
    ensure!(
        !x.layout().has_overlap(),
        runtime,
        "unsupported operation: more than one element of the written-to tensor refers to a single \
         memory location. Please clone() the tensor before performing the operation. It is {} with \
         strides {:?}",
        x.describe(),
        x.layout().strides
    );
    ensure!(
        !x.is_inference() || mode::inference(),
        runtime,
        "Inplace update to inference tensor outside InferenceMode is not allowed. You can make a \
         clone to get a normal tensor before doing inplace update. It is {}{}",
        x.describe(),
        x.cut().op().map_or_else(String::new, |op| format!(
            ", made by {op}{}",
            x.cut().site().at()
        ))
    );
    if !mode::grad_enabled() {
        return Ok(());
    }
    if let Some(view) = x.view_info()
        && (recorded || view.base.requires_grad())
    {
        check_view(x, view)?;
    }
    let is_leaf = |t: &Tensor| t.requires_grad() && t.is_leaf();
    ensure!(
        !is_leaf(x),
        runtime,
        "a leaf Variable that requires grad is being used in an in-place operation: it is {}. Wrap the \
         write in no_grad(), or write to a clone()",
        x.describe()
    );
    if let Some(ViewInfo { base, .. }) = x.view_info().filter(|view| is_leaf(&view.base)) {
        bail!(
            runtime,
            "a view of a leaf Variable that requires grad is being used in an in-place operation: {}. Wrap \
             the write in no_grad(), or write to a clone()",
            x.describe_view(base, x.grad_fn())
        )
    }
    Ok(())
}

/// The base takes its history from a view that is written: that must be possible.
fn check_view(x: &Tensor, view: &ViewInfo) -> Result<()> {
    let base = &view.base;
    ensure!(
        view.generation == base.data_generation(),
        runtime,
        "a view whose base was given other elements since, by assigning to .data, is being modified \
         inplace: the base would take a history that is not that of its elements. Make the view \
         again, or write to a clone(). {}",
        x.describe_view(base, x.grad_fn())
    );
    match view.creation {
        Creation::Recorded => {}
        Creation::NoGrad => bail!(
            runtime,
            "A view was created in no_grad mode and is being modified inplace with grad mode \
             enabled. Given that this use case is ambiguous and error-prone, it is forbidden. \
             You can clarify your code by moving both the view and the inplace either both \
             inside the no_grad block (if you don't want the inplace to be tracked) or both \
             outside (if you want the inplace to be tracked). {}",
            x.describe_view(base, x.grad_fn())
        ),
        Creation::Custom => bail!(
            runtime,
            "This view was created inside a custom Function (or because an input was returned \
             as-is) and is being modified inplace: the custom backward associated with the \
             custom Function would be overridden, leading to incorrect gradients. This behavior \
             is forbidden. You can fix this by cloning the output of the custom Function. {}",
            x.describe_view(base, x.grad_fn())
        ),
        Creation::MultiOutput => {
            let name = x
                .grad_fn()
                .map_or_else(|| "a view op".into(), |e| e.node.name());
            let output = x.grad_fn().map_or(0, |e| e.output);
            bail!(
                runtime,
                "Output {output} of {name} is a view and is being modified inplace. This view \
                 is the output of a function that returns multiple views. Such functions do \
                 not allow the output views to be modified inplace. You should replace the \
                 inplace operation by an out-of-place one, or write to one view at a time: \
                 select() or narrow(). {}",
                x.describe_view(base, x.grad_fn())
            )
        }
    }
    Ok(())
}
