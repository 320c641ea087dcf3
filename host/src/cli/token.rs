//! `host token new`: a token for the admin interface, and what is kept of it.

use anyhow::{Result, anyhow};
use clap::{Arg, ArgMatches, Command as Clap};

use crate::admin::access::{self, Entry, Role};
use crate::error::Classify;

/// For whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// What the log calls its bearer.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Of which tenant; none: of all.
    pub tenant: Option<String>,
}

impl New {
    /// By its arguments.
    pub fn of(matches: &ArgMatches) -> Self {
        let text = |name| matches.get_one::<String>(name).cloned();
        New {
            name: text("token_name").unwrap_or_default(),
            role: matches.get_one("role").copied().unwrap_or(Role::Viewer),
            tenant: text("tenant"),
        }
    }
}

/// `token` and what comes after it.
pub fn command() -> Clap {
    let name = Arg::new("token_name").long("name").value_name("NAME").required(true);
    let role = Arg::new("role").long("role").value_name("ROLE").required(true);
    let tenant = Arg::new("tenant").long("tenant").value_name("TENANT");
    Clap::new("token").about("Tokens for the admin interface").subcommand_required(true).subcommand(
        Clap::new("new")
            .about("Make a token, shown this once, and the line for the file of admin.tokens_file")
            .arg(name.help("What the log calls its bearer"))
            .arg(
                role.value_parser(|text: &str| text.parse::<Role>())
                    .help("viewer (looks), author (changes a tenant's pipelines), or operator (everything)"),
            )
            .arg(tenant.help("Whose; a viewer without one sees all")),
    )
}

/// Prints a token, the only time that anybody sees it, and the line for the file of tokens.
///
/// # Errors
/// A role and a tenant that do not go together.
pub fn new(new: &New) -> Result<()> {
    let token = access::new_token().environment()?;
    let entry = Entry::new(&new.name, new.role, new.tenant.as_deref(), &token);
    let entry = entry.map_err(|what| anyhow!(what)).usage()?;
    // Results go to standard output, one a line: `host token new ... | tail -n 1 >> tokens`.
    super::show(&format!("{}\n{entry}\n", token.expose()))?;
    eprintln!(
        "the first line is the token, and is shown this once; the second goes into the file of `admin.tokens_file`"
    );
    Ok(())
}
