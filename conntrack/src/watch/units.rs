//! Whose connections are: the unit that the local socket belongs to. eBPF tells the control group of who
//! sends; else the kernel is asked for the socket by its ends.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::sockets::Sockets;
use crate::{
    connection::{Protocol, Sighting, Whose},
    host::{cgroups::Groups, group_events::GroupEvents},
};

/// Sockets that are asked for in a batch.
const ASKED: usize = 256;

/// What is known of the units of this machine.
#[derive(Debug, Default)]
pub(super) struct UnitNames {
    groups: Arc<Mutex<Groups>>,
}

impl UnitNames {
    /// Those that there are; those that are made, as soon as they are. Within a runtime.
    pub(super) fn watched() -> Self {
        let mut groups = Groups::default();
        let events = groups.watch().and_then(|()| groups.events());
        let names = Self { groups: Arc::new(Mutex::new(groups)) };
        match events.and_then(|events| events.map(GroupEvents::of).transpose()) {
            Ok(Some(events)) => {
                tokio::spawn(learn(events, Arc::clone(&names.groups)));
            }
            Ok(None) => {}
            Err(error) => log::debug!("control groups are not watched: {error}"),
        }
        names
    }

    /// Names the unit of each sighting, where it is known.
    pub(super) fn name(&mut self, sightings: &mut [Sighting], sockets: &mut Sockets) {
        ask(sightings, sockets);
        let numbers = sightings.iter().filter_map(|it| match it.whose {
            Whose::Cgroup(number) => Some(number),
            _ => None,
        });
        let mut groups = locked(&self.groups);
        groups.learn();
        groups.look_for(numbers, Instant::now());
        for sighting in sightings {
            if let Whose::Cgroup(number) = sighting.whose {
                let unit = groups.unit(number);
                sighting.whose = unit.map_or(Whose::Unknown, Whose::Unit);
            }
        }
    }
}

/// For as long as somebody wants to know.
async fn learn(events: GroupEvents, groups: Arc<Mutex<Groups>>) {
    while Arc::strong_count(&groups) > 1 {
        if events.happened().await.is_err() {
            return;
        }
        locked(&groups).learn();
    }
}

fn locked(groups: &Mutex<Groups>) -> MutexGuard<'_, Groups> {
    groups.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which socket, and what the kernel said of its control group.
type Answers = HashMap<(Protocol, SocketAddr, SocketAddr), Whose>;

/// Asks for the sockets of which only the ends are known. One that is gone is nobody's.
fn ask(sightings: &mut [Sighting], sockets: &mut Sockets) {
    let mut answers = Answers::new();
    for sighting in sightings {
        let Whose::Socket { local, remote } = sighting.whose else { continue };
        let protocol = sighting.connection.protocol;
        let question = (protocol, local, remote);
        let may_ask = answers.len() < ASKED;
        sighting.whose = match answers.get(&question) {
            Some(answer) => answer.clone(),
            None if may_ask => {
                if answers.is_empty() {
                    // Where it is not told, sockets that are bound to the device are not found.
                    let _device = sockets.arrival();
                }
                let number = sockets.cgroup(protocol, local, remote).unwrap_or_default();
                let answer = if number == 0 { Whose::Unknown } else { Whose::Cgroup(number) };
                answers.insert(question, answer.clone());
                answer
            }
            None => Whose::Unknown,
        };
    }
}
