//! What the agent of a server says, and what comes of it: the same as in HAProxy.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::client::{HANG, connect, greeting};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::wait::{eventually, eventually_eq, settled};

#[test]
fn an_agents_words_do_what_they_do_in_haproxy() {
    let origin = Origin::named("a");
    let agents = [Agent::start("ready\n"), Agent::start("ready\n")];
    let [ours, theirs] = agents.each_ref().map(|agent| agent.addr.port());
    let own = format!("weight = 8, maxconn = 50, agent = {{ port = {ours}, inter = \"100ms\", send = \"hello\\n\" }}");
    let lb = Lb::start(&Config::new().server_with("a", origin.addr(), &own));
    let haproxy = Haproxy::backend(&format!(
        " server a {} weight 8 maxconn 50 check inter 100 agent-check agent-port {theirs} agent-inter 100 agent-send \"hello\\n\"",
        origin.addr()
    ));
    let status = || {
        let server = lb.status().server("app/a");
        (server.text("status"), server.number("maxconn"))
    };
    let their_status = || (haproxy.status("a").split(' ').next().unwrap().to_owned(), haproxy.stat("a", "slim"));
    // The configured or given weight, which `show stat` does not tell from what is in force.
    let weight = || lb.status().server("app/a").number("weight");
    let their_weight = || {
        let said = haproxy.command("get weight app/a");
        said.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let mut table = String::new();
    for line in [
        "up\n",
        "down\n",
        "ready\n",
        "75%\n",
        "up\n",
        "drain\n",
        "75% up\n",
        "ready\n",
        "maint\n",
        "up 50%\n",
        "ready\n",
        "100%\n",
        "maxconn:30\n",
        "stopped # for a while\n",
        "UP ready\r\n",
        "fail,10%\n",
        "up\n",
        "failed\n",
        "bogus\n",
        "\n",
        "up 300% maxconn:50\n",
        "down#x\n",
        "up bogus\n",
        "0%\n",
        "up 100%\n",
    ] {
        agents.iter().for_each(|agent| agent.say(Some(line)));
        let same = || (status() == their_status() && weight() == their_weight()).then_some(());
        eventually(
            HANG,
            &format!("after {line:?}: {:?} {:?}", (status(), weight()), (their_status(), their_weight())),
            same,
        );
        table += &format!(" {:?}: {:?}", line, (status(), weight()));
    }
    figure("an agent's words", table);
    assert_eq!(agents[0].state.lock().unwrap().heard, b"hello\n");
    assert!(lb.stderr().contains("its agent says stopped (for a while)"), "{}", lb.stderr());
    // The operator and the agent ask for the same thing, and the last one has it.
    lb.command_ok(&["server", "maint", "app/a"]);
    haproxy.command("set server app/a state maint");
    agents.iter().for_each(|agent| agent.say(Some("up\n")));
    eventually_eq(HANG, ["MAINT", "MAINT"].map(str::to_owned), || [status().0, their_status().0]);
    agents.iter().for_each(|agent| agent.say(Some("ready\n")));
    eventually_eq(HANG, ["UP", "UP"].map(str::to_owned), || [status().0, their_status().0]);
}

#[test]
fn an_agent_that_stalls_changes_nothing_and_an_upgrade_keeps_what_it_said() {
    let servers = ["a", "b"].map(Origin::named);
    let agent = Agent::start("down maxconn:7\n");
    let own = format!("agent = {{ port = {}, inter = \"100ms\" }}", agent.addr.port());
    let config = Config::new().server_with("a", servers[0].addr(), &own).server("b", servers[1].addr());
    let lb = Lb::start(&config);
    let status = || lb.status().server("app/a").text("status");
    eventually_eq(HANG, "DOWN".to_owned(), status);
    agent.say(None);
    assert_eq!(settled(HANG, Duration::from_millis(300), status), "DOWN");
    assert!((0..9).all(|_| greeting(lb.addr("web")).unwrap() == "b"));
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!((status(), lb.status().server("app/a").number("maxconn")), ("DOWN".to_owned(), 7));
    agent.say(Some("up\n"));
    eventually_eq(HANG, "UP".to_owned(), status);
    // Without an agent nothing is left of what it said about health.
    agent.say(Some("down\n"));
    eventually_eq(HANG, "DOWN".to_owned(), status);
    lb.reload(&Config::new().server("a", servers[0].addr()).server("b", servers[1].addr()));
    eventually_eq(HANG, "UP".to_owned(), status);
}

#[test]
fn what_an_agent_asks_for_has_the_effects_of_an_operators_command() {
    let origins = ["a", "b", "t", "u"].map(|name| Origin::start(Behaviour::SpeakFirst(name.as_bytes().to_vec())));
    let [a, b, t, u] = origins.each_ref().map(Origin::addr);
    let agents = [Agent::start("ready\n"), Agent::start("ready\n")];
    let [ours, theirs] = agents.each_ref().map(|agent| agent.addr.port());
    let own = format!(
        "on_marked_up = \"shutdown-backup-sessions\", agent = {{ port = {ours}, inter = \"100ms\" }}, \
         check = {{ inter = \"100ms\" }}"
    );
    let config = Config::new().server_with("a", a, &own).server_with("b", b, "backup = true");
    let other = format!(
        "[frontend.other]\nbind = \"127.0.0.1:0\"\nbackend = \"other\"\n[backend.other.servers]\n\
         t = {{ addr = \"{t}\", track = \"app/a\" }}\nu = {{ addr = \"{u}\", backup = true }}"
    );
    let lb = Lb::start(&config.table(&other));
    let haproxy = Haproxy::backend(&format!(
        " server a {a} check inter 100 on-marked-up shutdown-backup-sessions agent-check agent-port {theirs} agent-inter \
         100\n server b {b} backup\nbackend other\n server t {t} track app/a"
    ));
    let their_status = |path: &str| {
        let stat = haproxy.command("show stat");
        let row = stat.lines().find(|row| row.starts_with(&path.replace('/', ","))).unwrap();
        row.split(',').nth(17).unwrap().split(' ').next().unwrap().to_owned()
    };
    let all = |status: &str| {
        for server in ["app/a", "other/t"] {
            let both = || [lb.status().server(server).text("status"), their_status(server)];
            eventually_eq(HANG, [status, status].map(str::to_owned), both);
        }
        let serves = if status == "UP" { "t" } else { "u" };
        eventually_eq(HANG, serves.to_owned(), || first_byte(lb.addr("other")).1);
    };
    all("UP");
    agents.iter().for_each(|agent| agent.say(Some("drain\n")));
    all("DRAIN");
    agents.iter().for_each(|agent| agent.say(Some("maint\n")));
    all("MAINT");
    let mut clients = [lb.addr("web"), haproxy.addr()].map(first_byte);
    assert_eq!(clients.each_ref().map(|(_, name)| name.as_str()), ["b", "b"]);
    agents.iter().for_each(|agent| agent.say(Some("ready\n")));
    all("UP");
    for (client, _) in &mut clients {
        let end = client.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    }
}

#[test]
fn a_schedule_of_fixed_shares_takes_none_or_all_of_a_weight_from_an_agent() {
    let origin = Origin::named("a");
    let agents = [Agent::start("up\n"), Agent::start("up\n")];
    let [ours, theirs] = agents.each_ref().map(|agent| agent.addr.port());
    let own = format!("weight = 8, agent = {{ port = {ours}, inter = \"100ms\" }}");
    let lb = Lb::start(&Config::new().backend("balance = \"static-rr\"").server_with("a", origin.addr(), &own));
    let haproxy = Haproxy::backend(&format!(
        " balance static-rr\n server a {} weight 8 check agent-check agent-port {theirs} agent-inter 100",
        origin.addr()
    ));
    let weight = || lb.status().server("app/a").number("weight");
    let their_weight = || {
        let said = haproxy.command("get weight app/a");
        said.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    for (line, expected) in [("50%\n", 8), ("0%\n", 0), ("25%\n", 0), ("200%\n", 0), ("100%\n", 8), ("90%\n", 8)] {
        agents.iter().for_each(|agent| agent.say(Some(line)));
        eventually(HANG, &format!("after {line:?}: {:?}", (weight(), their_weight())), || {
            (weight() == expected && their_weight() == expected).then_some(())
        });
    }
}

/// A session, and the first byte that its server says.
fn first_byte(addr: SocketAddr) -> (TcpStream, String) {
    let mut client = connect(addr).unwrap();
    let mut name = [0];
    client.read_exact(&mut name).unwrap();
    (client, char::from(name[0]).to_string())
}
