use proptest::prelude::*;

use super::*;

/// `+` is a success, `-` a failure.
fn positions(rise: u32, fall: u32, init: InitState, results: &str) -> String {
    let mut health = Health::new(Rise::new(rise), Fall::new(fall), init);
    let mut shown = health.position().to_string();
    for result in results.chars() {
        let mark = match health.record(result == '+') {
            None => "",
            Some(Transition::WentUp) => "^",
            Some(Transition::WentDown) => "v",
        };
        shown += &format!(", {mark}{}", health.position());
    }
    shown
}

#[test]
fn moves_as_haproxy_does() {
    use InitState::*;
    for (rise, fall, init, results, expected) in [
        // The defaults: UP, one failure from DOWN.
        (2, 3, Up, "", "UP 1/3"),
        (2, 3, Up, "+", "UP 1/3, UP"),
        (2, 3, Up, "-", "UP 1/3, vDOWN"),
        (2, 3, Up, "-++", "UP 1/3, vDOWN, DOWN 1/2, ^UP"),
        (2, 3, FullyUp, "---", "UP, UP 2/3, UP 1/3, vDOWN"),
        (2, 3, FullyUp, "--+--", "UP, UP 2/3, UP 1/3, UP, UP 2/3, UP 1/3"),
        (2, 3, FullyDown, "-+-++", "DOWN, DOWN, DOWN 1/2, DOWN, DOWN 1/2, ^UP"),
        (2, 3, Down, "+", "DOWN 1/2, ^UP"),
        (2, 3, Down, "-+", "DOWN 1/2, DOWN, DOWN 1/2"),
        (3, 1, Up, "-+++-", "UP, vDOWN, DOWN 1/3, DOWN 2/3, ^UP, vDOWN"),
        (1, 1, Up, "-+-", "UP, vDOWN, ^UP, vDOWN"),
        // 0 counts as 1.
        (0, 0, FullyDown, "+-", "DOWN, ^UP, vDOWN"),
    ] {
        assert_eq!(positions(rise, fall, init, results), expected, "rise {rise} fall {fall} {init:?} {results}");
    }
}

#[test]
fn asks_faster_while_the_state_is_changing() {
    let [inter, fast, down] = [2000, 500, 7000].map(Duration::from_millis);
    let check =
        Check { inter, fastinter: fast, downinter: down, rise: Rise::new(3), fall: Fall::new(2), ..Check::default() };
    let mut health = Health::new(check.rise, check.fall, InitState::Up);
    let mut asked = vec![health.next_interval(&check)];
    for ok in [true, false, false, false, true, true, false, true, true, true] {
        health.record(ok);
        assert_eq!(health.changing(), health.next_interval(&check) == fast);
        asked.push(health.next_interval(&check));
    }
    assert_eq!(asked, [fast, inter, fast, down, down, fast, fast, down, fast, fast, inter]);
}

#[test]
fn a_reload_keeps_up_and_down_and_as_much_of_the_count_as_fits() {
    let up = |failures| Standing::Up { failures };
    let down = |successes| Standing::Down { successes };
    for (before, rise, fall, after) in [
        (up(0), 5, 5, up(0)),
        (up(2), 2, 5, up(2)),
        (up(2), 2, 2, up(1)),
        (up(2), 2, 1, up(0)),
        (down(0), 5, 5, down(0)),
        (down(2), 5, 1, down(2)),
        (down(2), 2, 3, down(1)),
        (down(2), 1, 3, down(0)),
    ] {
        let mut health = Health::restore(before, Rise::new(3), Fall::new(3));
        assert_eq!(health.value(), before);
        health.retune(Rise::new(rise), Fall::new(fall));
        assert_eq!(health.value(), after, "{before:?} to rise {rise} fall {fall}");
        let handed_over = serde_json::to_string(&health.value()).unwrap();
        assert_eq!(
            Health::restore(serde_json::from_str(&handed_over).unwrap(), Rise::new(rise), Fall::new(fall)),
            health
        );
    }
}

/// HAProxy's counter, word for word, to compare with.
struct Counter {
    health: u32,
    rise: u32,
    fall: u32,
}

impl Counter {
    fn record(&mut self, ok: bool) {
        let top = self.rise + self.fall - 1;
        if ok && self.health < top {
            self.health += 1;
            if self.health >= self.rise {
                self.health = top;
            }
        } else if !ok && self.health > 0 {
            self.health -= 1;
            if self.health < self.rise {
                self.health = 0;
            }
        }
    }
}

fn init_state() -> impl Strategy<Value = InitState> {
    prop::sample::select(vec![InitState::Up, InitState::FullyUp, InitState::Down, InitState::FullyDown])
}

proptest! {
    #[test]
    fn agrees_with_the_counter_of_haproxy(
        rise in 1..6u32,
        fall in 1..6u32,
        init in init_state(),
        results in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        let mut health = Health::new(Rise::new(rise), Fall::new(fall), init);
        let mut counter = Counter { health: health.counter(), rise, fall };
        for ok in results {
            let was_up = health.is_up();
            let transition = health.record(ok);
            counter.record(ok);
            prop_assert_eq!(health.counter(), counter.health);
            prop_assert!(health.counter() < rise + fall);
            prop_assert_eq!(health.is_up(), counter.health >= rise);
            prop_assert_eq!(health.changing(), counter.health > 0 && counter.health < rise + fall - 1);
            prop_assert_eq!(transition, match (was_up, health.is_up()) {
                (false, true) => Some(Transition::WentUp),
                (true, false) => Some(Transition::WentDown),
                _ => None,
            });
        }
    }

    #[test]
    fn down_to_up_takes_exactly_rise_successes_in_a_row_and_back_exactly_fall_failures(
        rise in 1..20u32,
        fall in 1..20u32,
        before in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        let mut health = Health::new(Rise::new(rise), Fall::new(fall), InitState::Up);
        for ok in before {
            health.record(ok);
        }
        for _ in 0..fall {
            health.record(false);
        }
        prop_assert!(!health.is_up());
        for n in 1..=rise {
            prop_assert_eq!(health.record(true), (n == rise).then_some(Transition::WentUp));
        }
        for n in 1..=fall {
            prop_assert_eq!(health.record(false), (n == fall).then_some(Transition::WentDown));
        }
    }
}
