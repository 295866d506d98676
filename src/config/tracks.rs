//! Whether the servers that `track` another one lead to one that is checked.

use super::backend::Backend;
use super::track::Tracked;
use super::value::RawValue;

/// Reports servers that follow none, one without checks, or each other. `value` finds what is written of a server.
pub(super) fn refuse<'a>(backends: &[Backend], value: impl Fn(&str, &str) -> Option<RawValue<'a>>) {
    let find = |tracked: &Tracked| {
        let backend = backends.iter().find(|backend| backend.name == tracked.backend)?;
        backend.servers.iter().find(|server| server.name == tracked.server)
    };
    for backend in backends {
        for server in &backend.servers {
            let Some(tracked) = &server.options.track else { continue };
            let Some(value) = value(&backend.name, &server.name) else { continue };
            let mut last = find(tracked);
            let mut steps: usize = backends.iter().map(|backend| backend.servers.len()).sum();
            while let Some(next) = last.and_then(|last| last.options.track.as_ref()).filter(|_| steps > 0) {
                last = find(next);
                steps -= 1;
            }
            match last {
                None if find(tracked).is_none() => value.refers_to_nothing("is no server; write \"BACKEND/SERVER\""),
                // Reported where it is written.
                None => {}
                Some(_) if steps == 0 => value.wrong("leads back to itself; track a server that is checked"),
                Some(last) if last.options.check.is_none() && last.options.agent.is_none() => {
                    value.wrong("has no checks; give it some, or track a server that is checked");
                }
                Some(_) => {}
            }
        }
    }
}
