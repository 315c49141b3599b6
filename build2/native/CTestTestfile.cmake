# CMake generated Testfile for 
# Source directory: /work/wt/core/native
# Build directory: /work/wt/core/build2/native
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
subdirs("cpu")
subdirs("cuda")
subdirs("test")
