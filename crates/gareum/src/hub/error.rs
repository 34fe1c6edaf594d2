//! What can go wrong with a repository on the hub.

use std::path::PathBuf;

use crate::files::WriteError;

/// Why a repository, or a file of it, cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name that is none.
    #[error(
        "{found}: this is no name on the hub: {reason}\nhint: models are named hf://owner/name, data hf://owner/name/subset/split, both also hf://owner/name@revision"
    )]
    Name {
        /// What was given.
        found: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no such repository, or it is private and no token was sent.
    #[error(
        "{name}: no such {kind} on {host}\nhint: check the name (if a directory is meant: it is not here); a private repository needs a token, in HF_TOKEN or by `hf auth login`"
    )]
    NotFound {
        /// The repository.
        name: String,
        /// Model or dataset.
        kind: &'static str,
        /// Where it was asked for.
        host: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{name}: there is no revision `{revision}`\nhint: name a branch, a tag or a commit")]
    Revision {
        /// The repository.
        name: String,
        /// The revision asked for.
        revision: String,
    },
    /// The token is not accepted.
    #[error(
        "{name}: {host} does not accept the token\nhint: make a new one and put it into HF_TOKEN, or run `hf auth login`"
    )]
    Token {
        /// The repository.
        name: String,
        /// Where it was sent to.
        host: String,
    },
    /// The owner gives access on request.
    #[error(
        "{name}: access is given on request only\nhint: accept the conditions on {page}, and put a token of your account into HF_TOKEN"
    )]
    Gated {
        /// The repository.
        name: String,
        /// Its page.
        page: String,
    },
    /// A file that the repository should have.
    #[error("{name}: there is no file `{file}`\nhint: check the name on {page}")]
    File {
        /// The repository.
        name: String,
        /// The file.
        file: String,
        /// Its page.
        page: String,
    },
    /// No weights that could be read.
    #[error("{name}: {reason}\nhint: {hint}")]
    Weights {
        /// The repository.
        name: String,
        /// What there is.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// The network is not to be used, and the cache lacks the repository.
    #[error(
        "{name}: not fetched yet, and the network is not to be used\nhint: fetch it once without --offline (and HF_HUB_OFFLINE), or name a directory or file that is here"
    )]
    NotCached {
        /// The repository.
        name: String,
    },
    /// There is no place for a cache.
    #[error("there is no place for downloads\nhint: name one in HF_HUB_CACHE, or set HOME")]
    NoCache,
    /// The hub cannot be reached.
    #[error(
        "{name}: {host} cannot be reached: {reason}\nhint: check the connection, or name a directory or file that is here; --offline uses only what was fetched before"
    )]
    Network {
        /// The repository.
        name: String,
        /// What was to be reached.
        host: String,
        /// What the system says.
        reason: String,
    },
    /// The hub answers with an error of its own.
    #[error("{name}: {host} answers with status {status}\nhint: {hint}")]
    Status {
        /// The repository.
        name: String,
        /// Who answers.
        host: String,
        /// The status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// The answer is not one of the hub.
    #[error(
        "{name}: {host} gives an answer that the hub would not: {reason}\nhint: check HF_ENDPOINT, and what stands between here and the hub"
    )]
    Answer {
        /// The repository.
        name: String,
        /// Who answers.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// A dataset has no such subset or split.
    #[error("{name}: {reason}; there are {known}\nhint: {hint}")]
    Part {
        /// The dataset.
        name: String,
        /// What is wrong.
        reason: String,
        /// What there is.
        known: String,
        /// What to do.
        hint: String,
    },
    /// A file of certificates that cannot be used.
    #[error("{}: no certificates in it: {reason}\nhint: SSL_CERT_FILE names a PEM file of certificates to trust", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The cache cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl HubError {
    /// Whether what was asked for is to blame, and not what happened on the way.
    pub fn is_input(&self) -> bool {
        !matches!(
            self,
            Self::Network { .. } | Self::Status { .. } | Self::Answer { .. } | Self::Write(_)
        )
    }
}
