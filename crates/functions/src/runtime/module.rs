//! A module that was checked and compiled.

use std::sync::Arc;

use breccia_types::FunctionKind;
use breccia_types::limits::FUNCTION_MODULE_BYTES_MAX;
use wasmtime::{Engine, ExternType, InstancePre, Linker};

use super::host::{self, State, TABLE_ELEMENTS_MAX, TABLES_MAX};
use super::{ALLOC, MEMORY, engine};
use crate::FunctionError;

/// What a WebAssembly module begins with; text is taken for the text format.
const MAGIC: &[u8] = b"\0asm";
/// Where functions import from.
pub(super) const HOST: &str = "breccia";

/// A function's module, compiled and linked to what its kind may use. Cheap to clone.
#[derive(Clone)]
pub struct Module(Arc<Linked>);

struct Linked {
    kind: FunctionKind,
    instance: InstancePre<State>,
}

impl Module {
    /// Checks and compiles a module: WebAssembly, or its text format.
    ///
    /// # Errors
    /// [`FunctionError::Malformed`], [`FunctionError::Import`] or [`FunctionError::Exports`].
    pub fn compile(bytes: &[u8]) -> Result<Self, FunctionError> {
        if bytes.len() > FUNCTION_MODULE_BYTES_MAX {
            let reason = format!(
                "it has {} bytes, and at most {FUNCTION_MODULE_BYTES_MAX} are allowed",
                bytes.len()
            );
            return Err(FunctionError::Malformed { reason });
        }
        let malformed = |reason: String| FunctionError::Malformed { reason };
        let binary = match bytes.starts_with(MAGIC) || !looks_like_text(bytes) {
            true => bytes.into(),
            false => wat::parse_bytes(bytes).map_err(|error| malformed(error.to_string()))?,
        };
        // The kind decides the engine, and is told by the exports of the compiled module.
        let mut engine = engine::by_time()?;
        let mut compiled = compile(engine, &binary)?;
        let kind = kind_of(&compiled)?;
        if kind == FunctionKind::Write {
            engine = engine::by_fuel()?;
            compiled = compile(engine, &binary)?;
        }
        let mut linker = Linker::new(engine);
        host::link(&mut linker, kind)?;
        check_imports(&compiled, kind)?;
        check_tables(&compiled)?;
        let instance = linker
            .instantiate_pre(&compiled)
            .map_err(|error| FunctionError::Exports { reason: error.to_string() })?;
        Ok(Self(Arc::new(Linked { kind, instance })))
    }

    /// What it does.
    #[must_use]
    pub fn kind(&self) -> FunctionKind {
        self.0.kind
    }

    /// Whether it may be called as a function of this kind.
    pub(super) fn check_kind(&self, needed: FunctionKind) -> Result<(), FunctionError> {
        let kind = self.kind();
        match kind == needed {
            true => Ok(()),
            false => {
                let reason = format!("it is a {kind} function, and called as a {needed} function");
                Err(FunctionError::Exports { reason })
            }
        }
    }

    pub(super) fn instance(&self) -> &InstancePre<State> {
        &self.0.instance
    }
}

fn looks_like_text(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(|text| {
        let text = text.trim_start();
        text.starts_with('(') || text.starts_with(";;")
    })
}

fn compile(engine: &Engine, binary: &[u8]) -> Result<wasmtime::Module, FunctionError> {
    wasmtime::Module::from_binary(engine, binary).map_err(|error| {
        let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
        FunctionError::Malformed { reason: causes.join(": ") }
    })
}

/// The entry points of each kind: name, how many i32 it takes, and whether it gives a packed
/// i64.
pub(super) const READ: &str = "breccia_read";
pub(super) const WRITE: &str = "breccia_write";
pub(super) const STEP: &str = "breccia_step";
pub(super) const COMBINE: &str = "breccia_combine";
pub(super) const PRESENT: &str = "breccia_present";

fn kind_of(module: &wasmtime::Module) -> Result<FunctionKind, FunctionError> {
    let refuse = |reason: String| Err(FunctionError::Exports { reason });
    let has = |name: &str| module.get_export(name).is_some();
    let kinds: Vec<_> =
        [(FunctionKind::Read, READ), (FunctionKind::Write, WRITE), (FunctionKind::Reduce, STEP)]
            .into_iter()
            .filter_map(|(kind, export)| has(export).then_some(kind))
            .collect();
    let kind = match kinds.as_slice() {
        [kind] => *kind,
        [] => {
            return refuse(format!(
                "it exports none of {READ} (a read function), {WRITE} (a write function) and \
                 {STEP} (a reduce function)"
            ));
        }
        _ => {
            return refuse("it exports the entry points of several kinds; one is right".to_owned());
        }
    };
    let entries: &[(&str, usize)] = match kind {
        FunctionKind::Read => &[(READ, 2)],
        FunctionKind::Write => &[(WRITE, 2)],
        FunctionKind::Reduce => &[(STEP, 6), (COMBINE, 4), (PRESENT, 2)],
    };
    for (name, params) in entries {
        check_function(module, name, *params, "i64")?;
    }
    check_function(module, ALLOC, 1, "i32")?;
    match module.get_export(MEMORY) {
        Some(ExternType::Memory(memory)) if !memory.is_shared() && !memory.is_64() => Ok(kind),
        Some(_) => refuse(format!("its export {MEMORY} is not an ordinary memory")),
        None => refuse(format!("a {kind} function exports its memory as {MEMORY}")),
    }
}

fn check_function(
    module: &wasmtime::Module,
    name: &str,
    params: usize,
    result: &str,
) -> Result<(), FunctionError> {
    let fits = match module.get_export(name) {
        Some(ExternType::Func(function)) => {
            function.params().len() == params
                && function.params().all(|param| param.is_i32())
                && function.results().len() == 1
                && function.results().all(|found| match result {
                    "i32" => found.is_i32(),
                    _ => found.is_i64(),
                })
        }
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let params = vec!["i32"; params].join(", ");
    Err(FunctionError::Exports {
        reason: format!("it must export {name} as a function ({params}) -> {result}"),
    })
}

/// What an instance could not be given is refused before there is one.
fn check_tables(module: &wasmtime::Module) -> Result<(), FunctionError> {
    let needed = module.resources_required();
    let elements = needed.max_initial_table_size.unwrap_or(0);
    let fits = usize::try_from(needed.num_tables).is_ok_and(|tables| tables <= TABLES_MAX)
        && usize::try_from(elements).is_ok_and(|elements| elements <= TABLE_ELEMENTS_MAX);
    if fits {
        return Ok(());
    }
    Err(FunctionError::Exports {
        reason: format!(
            "it has {} tables, of up to {elements} elements; at most {TABLES_MAX} of \
             {TABLE_ELEMENTS_MAX} are allowed",
            needed.num_tables
        ),
    })
}

fn check_imports(module: &wasmtime::Module, kind: FunctionKind) -> Result<(), FunctionError> {
    let offered = host::offered(kind);
    for import in module.imports() {
        let (from, name) = (import.module().to_owned(), import.name().to_owned());
        if from == HOST && offered.contains(&name.as_str()) {
            continue;
        }
        let reason = format!(
            "which a {kind} function may not: from {HOST:?} there are {}",
            offered.join(", ")
        );
        return Err(FunctionError::Import { module: from, name, reason });
    }
    Ok(())
}
