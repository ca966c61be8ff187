-- Let this transaction keep a day of jobs in memory. Takes and gives nothing.
SELECT set_config('work_mem', '64MB', true)
