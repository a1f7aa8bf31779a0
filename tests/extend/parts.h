#pragma once

void add_data_set();
void add_kernel();
void add_metric();
void add_objective();
