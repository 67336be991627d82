//! The emission stage that a registration date suggests. It is shown, marked as inferred, and decides nothing.

use super::KindPrefix;
use crate::vehicle::facts::Vehicle;

/// Stages of heavy diesel vehicles by the day of first registration.
#[derive(Clone, Debug)]
pub struct StageByDate {
    pub(super) kinds: Box<[KindPrefix]>,
    /// First day no longer covered (days since 1970-01-01) and stage, in the order of time.
    pub(super) steps: Box<[(i32, u8)]>,
    pub(super) afterwards: u8,
}

impl StageByDate {
    /// For a diesel vehicle of these kinds without a registered stage; `None` for any other and without a date.
    pub fn infer(&self, vehicle: &Vehicle) -> Option<u8> {
        let day = vehicle.registered_on?;
        let covered = vehicle.stage.is_none()
            && vehicle.is_diesel() == Some(true)
            && self.kinds.iter().any(|prefix| prefix.fits(vehicle.kind));
        let step = || self.steps.iter().find(|(before, _)| day < *before).map_or(self.afterwards, |(_, stage)| *stage);
        covered.then(step)
    }
}
