//! `show stat`: which rows of a status are asked for, and in which form.

use std::collections::BTreeMap;

use super::json;
use super::row::{self, Row, RowKind};
use super::row_flags::RowFlags;
use super::standing::ServerStandings;
use super::stat_rows::{backend_row, frontend_row, server_row};
use crate::control::admin::Status;
use crate::control::admin::status::{BackendReport, FrontendReport};

/// What stands behind `show stat`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StatQuery {
    /// Only these.
    bound: Option<StatBound>,
    form: StatForm,
    pub(super) flags: RowFlags,
}

/// `IID TYPE SID`.
#[derive(Debug, Clone, Copy)]
struct StatBound {
    iid: i64,
    kinds: i64,
    sid: i64,
}

#[derive(Debug, Clone, Copy, Default)]
enum StatForm {
    #[default]
    Csv,
    Typed,
    Json,
}

/// A frontend and a backend of one number, or one of both.
#[derive(Default)]
pub(super) struct ProxyReport<'s> {
    pub(super) frontend: Option<&'s FrontendReport>,
    pub(super) backend: Option<&'s BackendReport>,
}

/// The answer to `show stat` with these words behind it. `addresses`: the client may see them.
pub(super) fn show_stat(status: &Status, words: &[&str], addresses: bool) -> String {
    match StatQuery::parse(status, words) {
        Ok(mut query) => {
            query.flags.addresses = addresses;
            query.answer(status)
        }
        Err(message) => format!("{message}\n"),
    }
}

/// By number, which is the order of the file.
pub(super) fn proxies(status: &Status) -> BTreeMap<u32, ProxyReport<'_>> {
    let mut proxies: BTreeMap<u32, ProxyReport<'_>> = BTreeMap::new();
    for frontend in &status.frontends {
        proxies.entry(frontend.id).or_default().frontend = Some(frontend);
    }
    for backend in &status.backends {
        proxies.entry(backend.id).or_default().backend = Some(backend);
    }
    proxies
}

impl ProxyReport<'_> {
    pub(super) fn name(&self) -> &str {
        let frontend = self.frontend.map(|one| one.name.as_str());
        frontend.or_else(|| self.backend.map(|one| one.name.as_str())).unwrap_or_default()
    }
}

impl StatQuery {
    /// As HAProxy: three words are numbers of what is wanted, the other words have any order, and unknown ones no meaning.
    fn parse(status: &Status, mut words: &[&str]) -> Result<Self, &'static str> {
        let mut query = Self::default();
        if let ["domain", domain, rest @ ..] = words {
            match *domain {
                "proxy" => words = rest,
                "resolvers" => return Ok(Self { bound: Some(StatBound { iid: 0, kinds: 0, sid: 0 }), ..query }),
                _ => return Err("Invalid statistics domain."),
            }
        }
        if let [proxy, kinds, sid, rest @ ..] = words {
            let named = proxies(status).into_iter().find(|(_, one)| one.name() == *proxy);
            let iid = named.map_or_else(|| leading_number(proxy), |(iid, _)| iid.into());
            if iid == 0 {
                return Err("No such proxy.");
            }
            query.bound = Some(StatBound { iid, kinds: leading_number(kinds), sid: leading_number(sid) });
            words = rest;
        }
        for word in words {
            match *word {
                "typed" => query.form = StatForm::Typed,
                "json" => query.form = StatForm::Json,
                "up" => query.flags.hide_down = true,
                "no-maint" => query.flags.hide_maint = true,
                _ => {}
            }
        }
        Ok(query)
    }

    fn answer(&self, status: &Status) -> String {
        let rows = self.rows(status);
        match self.form {
            StatForm::Csv => row::csv(&rows),
            StatForm::Typed => row::typed(&rows),
            StatForm::Json => json::rows(&rows),
        }
    }

    /// Of each proxy its frontend, its servers, its backend.
    pub(super) fn rows(&self, status: &Status) -> Vec<Row> {
        let standings = ServerStandings::of(status);
        let mut rows = Vec::new();
        let wanted = |iid: u32| self.bound.is_none_or(|bound| bound.iid == -1 || bound.iid == i64::from(iid));
        for (iid, proxy) in proxies(status).into_iter().filter(|(iid, _)| wanted(*iid)) {
            rows.extend(proxy.frontend.filter(|_| self.wants(RowKind::Frontend)).map(|one| frontend_row(one, iid)));
            let Some(backend) = proxy.backend else { continue };
            if self.wants(RowKind::Server) {
                let standings = backend.servers.iter().map(|server| standings.server(server));
                let wanted = standings.filter(|one| self.wants_server(one.server.settings.id) && self.flags.show(*one));
                rows.extend(wanted.map(|one| server_row(status, backend, one, self.flags)));
            }
            if self.wants(RowKind::Backend) {
                rows.push(backend_row(status, backend, &standings, self.flags));
            }
        }
        rows
    }

    fn wants(&self, kind: RowKind) -> bool {
        self.bound.is_none_or(|bound| bound.kinds & kind.bit() != 0)
    }

    fn wants_server(&self, sid: u32) -> bool {
        self.bound.is_none_or(|bound| bound.sid == -1 || bound.sid == i64::from(sid))
    }
}

/// The number that a text begins with, as `atoi` has it.
fn leading_number(text: &str) -> i64 {
    let end = text.char_indices().find(|(at, c)| !(c.is_ascii_digit() || *at == 0 && matches!(c, '-' | '+')));
    text[..end.map_or(text.len(), |(at, _)| at)].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
