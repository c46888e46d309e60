//! The shell around a small core: order of effects, the one timer, and rebuilding.

use actix::{Actor, Addr};
use jaco_kit::{Broken, Clock, Critical, Deliver, Perform, Shell, Supervisor};
use jaco_kit_core::{Core, Mono, Now};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Echoes each number twice, and once more after a while; says how many came together.
#[derive(Debug, Default)]
struct Echo {
    later: Option<(Mono, u32)>,
}

impl Core for Echo {
    type Input = u32;
    type Effect = u32;

    fn step(&mut self, now: Now, input: u32) -> Vec<u32> {
        self.later = Some((now.mono.plus(Duration::from_millis(20)), input + 100));
        vec![input, input + 1]
    }

    fn step_all(&mut self, now: Now, inputs: Vec<u32>) -> Vec<u32> {
        let several = u32::try_from(inputs.len()).ok().filter(|count| *count > 1);
        let each = inputs.into_iter().flat_map(|input| self.step(now, input));
        several.map(|count| 1_000 + count).into_iter().chain(each).collect()
    }

    fn wake(&mut self, now: Now) -> Vec<u32> {
        let due = self.later.take_if(|(at, _)| *at <= now.mono);
        due.map(|(_, number)| number).into_iter().collect()
    }

    fn deadline(&self) -> Option<Mono> {
        self.later.map(|(at, _)| at)
    }
}

/// Collects numbers; breaks on 13.
struct Collect(Rc<RefCell<Vec<u32>>>);

impl Perform<u32> for Collect {
    fn perform(&mut self, effect: u32) -> Result<(), Broken> {
        if effect == 13 {
            return Err(Broken("thirteen".to_owned()));
        }
        self.0.borrow_mut().push(effect);
        Ok(())
    }
}

fn start(supervisor: &Supervisor, seen: &Rc<RefCell<Vec<u32>>>) -> Addr<Shell<Echo, Collect>> {
    Shell::new("echo", Echo::default(), Collect(seen.clone()), supervisor).start()
}

async fn until(seen: &Rc<RefCell<Vec<u32>>>, count: usize) {
    while seen.borrow().len() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix_rt::test]
async fn what_is_in_the_mailbox_together_is_handed_over_together() {
    let supervisor = Supervisor::new(Clock::new());
    let seen = Rc::default();
    let shell = start(&supervisor, &seen);
    for input in [1, 3, 5] {
        shell.try_send(Deliver(input)).unwrap();
    }
    until(&seen, 8).await;
    assert_eq!(*seen.borrow(), [1_003, 1, 2, 3, 4, 5, 6, 105]);
}

#[actix_rt::test]
async fn effects_run_in_order_and_the_timer_fires_once() {
    let supervisor = Supervisor::new(Clock::new());
    let seen = Rc::default();
    let shell = start(&supervisor, &seen);
    shell.send(Deliver(1)).await.unwrap();
    until(&seen, 2).await;
    assert_eq!(*seen.borrow(), [1, 2]);
    until(&seen, 3).await;
    shell.send(Deliver(5)).await.unwrap();
    until(&seen, 5).await;
    assert_eq!(*seen.borrow(), [1, 2, 101, 5, 6]);
    assert!(supervisor.recorder().tail().contains("echo"));
}

#[actix_rt::test]
async fn a_broken_driver_stops_the_shell_and_the_factory_builds_a_new_one() {
    let supervisor = Supervisor::new(Clock::new());
    let seen: Rc<RefCell<Vec<u32>>> = Rc::default();
    let address = Rc::new(RefCell::new(start(&supervisor, &seen)));
    let factory = {
        let (supervisor, seen, address) = (supervisor.clone(), seen.clone(), address.clone());
        move || *address.borrow_mut() = start(&supervisor, &seen)
    };
    supervisor.supervise("echo", Critical::Rebuild(Box::new(factory)));

    let first = address.borrow().clone();
    first.send(Deliver(12)).await.unwrap();
    while !address.borrow().connected() || *address.borrow() == first {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = address.borrow().clone();
    second.send(Deliver(20)).await.unwrap();
    assert_eq!(*seen.borrow(), [12, 20, 21], "nothing after the broken effect ran");
}
