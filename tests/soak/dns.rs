//! A name server that lags for longer than anybody likes to wait.

use std::time::Duration;

use crate::lab::name_servers::a_lag_burns_no_validation;

#[test]
fn d01_with_one_of_two_name_servers_lagging_by_30_s_no_validation_is_burnt() {
    a_lag_burns_no_validation(Duration::from_secs(30));
}
