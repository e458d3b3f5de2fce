//! Tensors as text, in PyTorch's layout.
//!
//! All numbers of a tensor share one format: integers-valued floats print as `1.`, otherwise four
//! digits, in scientific notation when the range is wide. Beyond a threshold of elements, only the
//! edges of each dimension are shown.

use super::Tensor;
use crate::base::{DType, Device, Result, Scalar, dtype::default_dtype};
use parking_lot::Mutex;

/// How tensors print.
#[derive(Clone, Copy, Debug)]
pub struct PrintOptions {
    /// Digits after the point.
    pub precision: usize,
    /// From how many elements on a tensor is summarised.
    pub threshold: usize,
    /// How many entries a summary shows at each edge.
    pub edge_items: usize,
    /// Characters in a line.
    pub line_width: usize,
    /// Scientific notation always (`true`), never (`false`), or when the range asks for it.
    pub sci_mode: Option<bool>,
}

impl PrintOptions {
    /// PyTorch's defaults.
    pub const DEFAULT: PrintOptions = PrintOptions {
        precision: 4,
        threshold: 1000,
        edge_items: 3,
        line_width: 80,
        sci_mode: None,
    };
}

static OPTIONS: Mutex<PrintOptions> = Mutex::new(PrintOptions::DEFAULT);

/// How tensors print now.
pub fn print_options() -> PrintOptions {
    *OPTIONS.lock()
}

/// Changes how tensors print.
pub fn set_print_options(options: PrintOptions) {
    *OPTIONS.lock() = options;
}

/// The common format of a tensor's numbers.
struct Style {
    float: bool,
    integral: bool,
    scientific: bool,
    precision: usize,
    width: usize,
}

impl Style {
    fn new(values: &[Scalar], dtype: DType, options: &PrintOptions) -> Self {
        let mut style = Self {
            float: dtype.is_float(),
            integral: true,
            scientific: false,
            precision: options.precision,
            width: 0,
        };
        if style.float {
            let finite = values
                .iter()
                .map(|v| v.as_f64())
                .filter(|x| x.is_finite() && *x != 0.0)
                .map(f64::abs);
            let (mut least, mut most) = (f64::INFINITY, 0.0f64);
            for x in finite {
                least = least.min(x);
                most = most.max(x);
                style.integral &= x == x.ceil();
            }
            let wide = most > 0.0
                && if style.integral {
                    most / least > 1000.0 || most > 1e8
                } else {
                    most / least > 1000.0 || most > 1e8 || least < 1e-4
                };
            // A range of integers needs no exponent until it is wide.
            style.scientific = options.sci_mode.unwrap_or(wide);
        }
        // Zeros, infinities and NaN among floats are as wide as they are, as in PyTorch.
        let counts = |v: &&Scalar| {
            let x = v.as_f64();
            !style.float || (x.is_finite() && x != 0.0)
        };
        let widths = values.iter().filter(counts).map(|v| style.text(*v).len());
        style.width = widths.max().unwrap_or(0);
        style
    }

    fn text(&self, v: Scalar) -> String {
        match v {
            Scalar::Bool(true) => "True".into(),
            Scalar::Bool(false) => "False".into(),
            Scalar::Int(i) => i.to_string(),
            Scalar::Float(x) if x.is_nan() => "nan".into(),
            Scalar::Float(x) if x.is_infinite() => if x > 0.0 { "inf" } else { "-inf" }.into(),
            Scalar::Float(x) if self.scientific => scientific(x, self.precision),
            Scalar::Float(x) if self.integral => format!("{x:.0}."),
            Scalar::Float(x) => format!("{x:.*}", self.precision),
        }
    }

    fn padded(&self, v: Scalar) -> String {
        format!("{:>width$}", self.text(v), width = self.width)
    }
}

/// `1.2000e+03`, with at least two digits of exponent.
fn scientific(x: f64, precision: usize) -> String {
    let s = format!("{x:.precision$e}");
    let (mantissa, exponent) = s.split_once('e').unwrap_or((&s, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Which positions of a dimension are shown; `None` stands for the dots.
fn shown(n: usize, summarise: bool, edge: usize) -> Vec<Option<usize>> {
    if summarise && n > 2 * edge {
        let head = (0..edge).map(Some);
        let tail = (n - edge..n).map(Some);
        head.chain(std::iter::once(None)).chain(tail).collect()
    } else {
        (0..n).map(Some).collect()
    }
}

struct Printer<'a> {
    t: &'a Tensor,
    style: Style,
    options: PrintOptions,
    summarise: bool,
}

impl Printer<'_> {
    fn body(&self, index: &mut Vec<usize>, indent: usize) -> String {
        let d = index.len();
        if d == self.t.ndim() {
            return self.style.padded(self.t.get(index));
        }
        let positions = shown(self.t.shape()[d], self.summarise, self.options.edge_items);
        let parts = positions.into_iter().map(|i| match i {
            // Within a row the dots stand apart.
            None if d + 1 == self.t.ndim() => " ...".to_owned(),
            None => "...".to_owned(),
            Some(i) => {
                index.push(i);
                let part = self.body(index, indent + 1);
                index.pop();
                part
            }
        });
        let parts: Vec<String> = parts.collect();
        let pad = " ".repeat(indent + 1);
        if d + 1 < self.t.ndim() {
            // Blocks of higher dimensions are further apart.
            let gap = "\n".repeat(self.t.ndim() - d - 1);
            return format!("[{}]", parts.join(&format!(",{gap}{pad}")));
        }
        let room = self.options.line_width.saturating_sub(indent);
        let per_line = (room / (self.style.width + 2)).max(1);
        let lines: Vec<String> = parts.chunks(per_line).map(|line| line.join(", ")).collect();
        format!("[{}]", lines.join(&format!(",\n{pad}")))
    }
}

/// The values that a print shows, for choosing their format.
fn visible(t: &Tensor, summarise: bool, edge: usize) -> Vec<Scalar> {
    let mut indices = vec![Vec::new()];
    for &n in t.shape().iter() {
        let positions: Vec<usize> = shown(n, summarise, edge).into_iter().flatten().collect();
        indices = indices
            .iter()
            .flat_map(|index: &Vec<usize>| {
                positions.iter().map(move |&i| {
                    let mut index = index.clone();
                    index.push(i);
                    index
                })
            })
            .collect();
    }
    indices.iter().map(|index| t.get(index)).collect()
}

/// What Python's `repr` shows: `tensor([1., 2.], requires_grad=True)`.
///
/// # Errors
/// When the tensor's history cannot be told.
pub fn repr(t: &Tensor) -> Result<String> {
    let prefix = "tensor(";
    let options = print_options();
    let mut suffixes: Vec<String> = Vec::new();
    let meta = t.device() == Device::Meta;
    let text = if meta {
        suffixes.push("device='meta'".into());
        suffixes.push(format!("size={}", size_text(t)));
        "...".to_owned()
    } else if t.numel() == 0 {
        if t.ndim() != 1 {
            suffixes.push(format!("size={}", size_text(t)));
        }
        "[]".to_owned()
    } else {
        let summarise = t.numel() > options.threshold;
        let values = visible(t, summarise, options.edge_items);
        let style = Style::new(&values, t.dtype(), &options);
        let printer = Printer {
            t,
            style,
            options,
            summarise,
        };
        printer.body(&mut Vec::new(), prefix.len())
    };
    let inferred = match t.dtype() {
        DType::Bool | DType::I64 => t.numel() > 0,
        d => d == default_dtype(),
    };
    if !inferred {
        suffixes.push(format!("dtype=rustgrad.{}", t.dtype()));
    }
    if let Some(edge) = t.grad_edge()? {
        match t.grad_fn() {
            Some(_) => suffixes.push(format!("grad_fn=<{}>", edge.node.name())),
            None => suffixes.push("requires_grad=True".into()),
        }
    }
    if let Some(tangent) = t.tangents().and_then(|t| t.last().map(|(_, t)| t.clone())) {
        suffixes.push(format!("tangent={}", repr(&tangent)?));
    }
    let mut out = format!("{prefix}{text}");
    let mut column = out.rsplit('\n').next().map_or(0, str::len);
    for suffix in suffixes {
        if column + suffix.len() + 2 > options.line_width {
            out += &format!(",\n{}{suffix}", " ".repeat(prefix.len()));
            column = prefix.len() + suffix.len();
        } else {
            out += &format!(", {suffix}");
            column += suffix.len() + 2;
        }
    }
    Ok(out + ")")
}

fn size_text(t: &Tensor) -> String {
    let sizes: Vec<String> = t.shape().iter().map(ToString::to_string).collect();
    match sizes.as_slice() {
        [one] => format!("({one},)"),
        all => format!("({})", all.join(", ")),
    }
}
