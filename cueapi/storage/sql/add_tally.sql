        on conflict (user_id, bucket, status) do update
       set count = tallies.count + excluded.count,
           unsuccessful = tallies.unsuccessful + excluded.unsuccessful,
           lag_sum = tallies.lag_sum + excluded.lag_sum,
           lag_max = greatest(tallies.lag_max, excluded.lag_max)
