//! Hooks, saved tensors, budgets and observers, from Rust.

use parking_lot::Mutex;
use rustgrad::engine::budget::Budget;
use rustgrad::engine::{self, Grads};
use rustgrad::ops::def::Call;
use rustgrad::ops::observe::{self, Observer};
use rustgrad::tape::saved::{self, SavedTensorHooks};
use rustgrad::tape::{Packed, When};
use rustgrad::{Error, Result, Tensor, ops};
use std::any::Any;
use std::sync::Arc;

fn leaf(values: &[f64]) -> Tensor {
    let x = Tensor::from_slice(values, [values.len()]).unwrap();
    x.set_requires_grad(true).unwrap();
    x
}

fn backward(t: Tensor) -> Result<()> {
    engine::backward(&[ops::sum(t)?], &[None], None, Grads::default())
}

fn grad_of(x: &Tensor) -> Vec<f64> {
    let grad = x.grad().expect("a backward has run");
    grad.to_vec().unwrap().iter().map(|s| s.as_f64()).collect()
}

#[test]
fn hooks_run_in_order_and_replace_gradients() {
    let x = leaf(&[2.0]);
    x.register_hook(|g| ops::add(g, 1.0).map(Some)).unwrap();
    let second = x.register_hook(|g| ops::mul(g, 3.0).map(Some)).unwrap();
    backward(ops::mul(&x, 5.0).unwrap()).unwrap();
    assert_eq!(grad_of(&x), [18.0]);
    second.remove();
    x.set_grad(None).unwrap();
    backward(ops::mul(&x, 5.0).unwrap()).unwrap();
    assert_eq!(grad_of(&x), [6.0]);
}

#[test]
fn hooks_after_accumulation_see_the_leaf() {
    let x = leaf(&[2.0]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    x.register_post_accumulate_grad_hook(move |leaf| {
        notes.lock().push(grad_of(leaf));
        Ok(())
    })
    .unwrap();
    backward(ops::mul(&x, &x).unwrap()).unwrap();
    assert_eq!(*seen.lock(), [[4.0]]);
    let y = ops::mul(&x, 2.0).unwrap();
    assert!(y.register_post_accumulate_grad_hook(|_| Ok(())).is_err());
}

#[test]
fn a_hook_that_fails_leaves_the_graph() {
    let x = leaf(&[2.0]);
    let y = ops::mul(&x, &x).unwrap();
    let handle = y.register_hook(|_| Err(Error::runtime("no"))).unwrap();
    let e = backward(y.clone()).unwrap_err();
    assert_eq!(e.message(), "no");
    handle.remove();
    backward(y).unwrap();
    assert_eq!(grad_of(&x), [4.0]);
}

#[test]
fn edges_stand_for_tensors() {
    let x = leaf(&[3.0]);
    let y = ops::mul(&x, &x).unwrap();
    let edge = y.hooked_edge().unwrap();
    let z = ops::sum(ops::mul(&y, 2.0).unwrap()).unwrap();
    let root = z.hooked_edge().unwrap();
    let found = engine::grad(&[root], &[None], &[edge], false, Grads::default()).unwrap();
    assert_eq!(found[0].as_ref().unwrap().item().unwrap().as_f64(), 2.0);
}

/// Keeps saved tensors as vectors.
struct AsVector;

struct Vector(Vec<f64>);

impl SavedTensorHooks for AsVector {
    fn pack(&self, t: &Tensor, _: &str) -> Result<Arc<dyn Packed>> {
        let values = t.to_vec()?.iter().map(|s| s.as_f64()).collect();
        Ok(Arc::new(Vector(values)))
    }
}

impl Packed for Vector {
    fn unpack(&self) -> Result<Tensor> {
        Tensor::from_slice(&self.0, [self.0.len()])
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn saved_tensors_go_through_hooks() {
    let x = leaf(&[1.0, 2.0]);
    saved::push_hooks(Arc::new(AsVector)).unwrap();
    let y = ops::mul(&x, &x);
    saved::pop_hooks();
    backward(y.unwrap()).unwrap();
    assert_eq!(grad_of(&x), [2.0, 4.0]);
}

/// Notes the names of ops.
#[derive(Default)]
struct Names(Mutex<Vec<&'static str>>);

impl Observer for Names {
    fn after(&self, call: &Call, _: &[Tensor]) -> Result<()> {
        // What an observer runs itself is not observed.
        ops::exp(Tensor::from_slice(&[1.0], [1])?)?;
        self.0.lock().push(call.op.name);
        Ok(())
    }
}

#[test]
fn observers_see_the_ops_of_their_thread() {
    let names = Arc::new(Names::default());
    observe::push(names.clone());
    let x = leaf(&[1.0]);
    ops::sin(ops::exp(&x).unwrap()).unwrap();
    std::thread::spawn(|| ops::cos(leaf(&[1.0])).unwrap().item().unwrap())
        .join()
        .unwrap();
    observe::pop();
    ops::cos(&x).unwrap();
    assert_eq!(*names.0.lock(), ["exp", "sin"]);
}

#[test]
fn a_budget_gives_the_same_gradient() {
    let chain = |x: &Tensor| {
        let mut y = x.clone();
        for _ in 0..30 {
            y = ops::sin(&y).unwrap();
        }
        y
    };
    let values: Vec<f64> = (0..1000).map(f64::from).collect();
    let x = leaf(&values);
    backward(chain(&x)).unwrap();
    let want = grad_of(&x);
    x.set_grad(None).unwrap();
    let budget = Budget::new(0);
    saved::push_hooks(budget.clone()).unwrap();
    observe::push(budget.clone());
    backward(chain(&x)).unwrap();
    observe::pop();
    saved::pop_hooks();
    assert_eq!(grad_of(&x), want);
    assert!(budget.account().evictions > 0 && budget.account().recomputations > 0);
}

#[test]
fn hooks_of_nodes_see_both_sides() {
    struct Sides(Mutex<Vec<usize>>);
    impl rustgrad::tape::Hook for Sides {
        fn call(
            &self,
            _: &rustgrad::tape::NodeRef,
            grads: &[Option<Tensor>],
            outputs: &[Option<Tensor>],
        ) -> Result<Option<Vec<Option<Tensor>>>> {
            self.0.lock().extend([grads.len(), outputs.len()]);
            Ok(None)
        }

        fn as_any(&self) -> &dyn Any {
            self
        }
    }
    let x = leaf(&[2.0]);
    let y = ops::mul(&x, &x).unwrap();
    let sides = Arc::new(Sides(Mutex::default()));
    y.hooked_edge()
        .unwrap()
        .node
        .add_hook(When::After, sides.clone());
    backward(y).unwrap();
    assert_eq!(*sides.0.lock(), [2, 1]);
}
