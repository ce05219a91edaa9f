"""What a SLURM cluster is asked and told: scripts, commands, states of jobs, requeueing."""
