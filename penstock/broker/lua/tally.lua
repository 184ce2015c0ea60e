-- Counts for the balance sheet what happened outside of the scripts.
--
-- ARGV  2 what: 'purged'  3 queue  4 number
tally(ARGV[2], ARGV[3], tonumber(ARGV[4]))
return 1
