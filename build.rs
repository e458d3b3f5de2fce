//! Lets `src/py` ask for the Python version it is built for (`cfg(Py_3_11)`).

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
