//! What the command line accepts.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_is_consistent() {
    CommandLine::command().debug_assert();
}

#[test]
fn right_lines_are_taken() {
    let lines = [
        "lb run",
        "lb run -f a.toml",
        "lb run a.toml",
        "lb version",
        "lb --socket /x run",
        "lb run --socket /x --bind 127.0.0.1:80 --bind [::1]:80 --server a=1.2.3.4:80 --server unix@/x",
        "lb run --takeover /run/lb/handoff.sock --probation 1s -f a.toml",
        "lb run --takeover /run/lb/handoff.sock --linger",
        "lb check",
        "lb check --file a.toml",
        "lb status --json --watch",
        "lb server list --json",
        "lb server ready app/a",
        "lb server drain app/a --json",
        "lb server maint app/rack/a",
        "lb server weight app/a 256",
        "lb server accept app",
        "lb server kill app/a",
        "lb server kill app/* other/a --over 5s --json",
        "lb server drain app/a other/* --wait 30s",
        "lb server maint app/a --wait 500ms --json",
        "lb server weight app/a app/b 7",
        "lb wait app/a --up",
        "lb wait app/a other/* --empty --timeout 10s --json",
        "lb stop --json",
        "lb sessions",
        "lb sessions app other/a* --sort idle --limit 5 --json",
        "lb session kill 0x1f 20",
        "lb reload --json",
        "lb upgrade",
        "lb upgrade --binary ./lb --probation 500ms --json",
        "lb demo",
        "lb demo --bind 127.0.0.1:8080 --seconds 3 --json",
        "lb completions fish",
    ];
    for line in lines {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn wrong_lines_are_usage_errors() {
    let lines = [
        "lb",
        "lb fly",
        "lb run -f a.toml --bind 127.0.0.1:80 --server 1.2.3.4:80",
        "lb run --bind 127.0.0.1:80",
        "lb run --server 1.2.3.4:80",
        "lb run --probation 1s",
        "lb run --takeover /run/lb/handoff.sock --probation 2min",
        "lb server",
        "lb server drain",
        "lb server drain app",
        "lb server weight app/a",
        "lb server weight app/a 257",
        "lb server weight app/a -1",
        "lb server kill",
        "lb server kill app",
        "lb server kill app/a --over 5",
        "lb server kill app/a --over 2h",
        "lb server ready app/a --wait 30s",
        "lb server drain app/a --wait 30",
        "lb wait app/a",
        "lb wait app/a --up --down",
        "lb wait --up",
        "lb sessions --sort fly",
        "lb sessions /a",
        "lb session kill",
        "lb session kill app1",
        "lb upgrade --probation 2min",
        "lb demo --seconds 0",
        "lb completions klingon",
    ];
    for line in lines {
        let error = parse(line).expect_err(line);
        assert_eq!(usage(&error), ExitStatus::BadInput, "{line}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in CommandLine::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains("Example"), "lb {}", command.get_name());
    }
}

#[test]
fn what_stands_under_the_help_fits_a_terminal() {
    fn check(command: &clap::Command) {
        let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in below.lines() {
            assert!(line.chars().count() < 80, "lb {}: {line}", command.get_name());
        }
        command.get_subcommands().for_each(check);
    }
    check(&CommandLine::command());
}
