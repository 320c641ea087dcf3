//! What there is to build.

use std::borrow::Cow;

/// A component, or what stands in for one in a test.
pub(crate) struct Guest {
    /// Its name in Rust, and that of its file.
    pub(crate) name: Cow<'static, str>,
    pub(crate) package: Cow<'static, str>,
    pub(crate) target: Target,
    pub(crate) form: Form,
    /// Folders and files that it is made of, as paths from the workspace's root. None: it does not say.
    pub(crate) sources: &'static [&'static str],
    /// Whether the host has it built in.
    pub(crate) is_builtin: bool,
}

/// Which target of its package it is.
#[derive(PartialEq)]
pub(crate) enum Target {
    /// The library, with its feature `component`.
    Shipped,
    /// The library.
    Library,
    /// An example.
    Example,
}

/// What comes out.
#[derive(Debug, PartialEq)]
pub(crate) enum Form {
    /// A component that keeps to the contract.
    Transform,
    /// Any component.
    Component,
    /// A WebAssembly module.
    Module,
}

impl Guest {
    /// What a package of this workspace is.
    pub(crate) fn of_package(package: &str, form: Form) -> Self {
        Self {
            name: package.replace('-', "_").into(),
            package: package.to_owned().into(),
            target: Target::Library,
            form,
            sources: &[],
            is_builtin: false,
        }
    }

    /// Its file, as a path from the output folder.
    pub(crate) fn file(&self) -> String {
        let folder = if self.target == Target::Example { "tests/" } else { "" };
        format!("{folder}{}.wasm", self.name)
    }
}

/// All of them.
pub(crate) const GUESTS: &[Guest] = &[
    Guest {
        name: Cow::Borrowed("update_only"),
        package: Cow::Borrowed("update-only"),
        target: Target::Shipped,
        form: Form::Transform,
        sources: &["wit", "guest-transforms/sdk", "guest-transforms/update-only"],
        is_builtin: true,
    },
    Guest {
        name: Cow::Borrowed("all_changes"),
        package: Cow::Borrowed("all-changes"),
        target: Target::Shipped,
        form: Form::Transform,
        sources: &[
            "wit",
            "guest-transforms/sdk",
            "guest-transforms/update-only",
            "guest-transforms/all-changes",
        ],
        is_builtin: false,
    },
    Guest {
        name: Cow::Borrowed("mirror"),
        package: Cow::Borrowed("mirror"),
        target: Target::Shipped,
        form: Form::Transform,
        sources: &["wit", "guest-transforms/sdk", "guest-transforms/mirror"],
        is_builtin: false,
    },
    Guest {
        name: Cow::Borrowed("audit"),
        package: Cow::Borrowed("audit"),
        target: Target::Shipped,
        form: Form::Transform,
        sources: &["wit", "guest-transforms/sdk", "guest-transforms/audit"],
        is_builtin: false,
    },
    example("hostile", "hostile", Form::Component),
    example("hostile", "changed_types", Form::Component),
    example("hostile", "core_module", Form::Module),
    example("hostile", "other_import", Form::Component),
    example("hostile", "other_world", Form::Component),
    example("hostile", "spin_start", Form::Component),
    example("hostile", "version_two", Form::Component),
    example("bench-guests", "all_columns", Form::Transform),
    example("bench-guests", "raw_update_only", Form::Transform),
];

const fn example(package: &'static str, name: &'static str, form: Form) -> Guest {
    Guest {
        name: Cow::Borrowed(name),
        package: Cow::Borrowed(package),
        target: Target::Example,
        form,
        sources: &[],
        is_builtin: false,
    }
}
