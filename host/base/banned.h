/* The last include of every .c file: functions that must not be called. The compiler is the first
   reviewer; tidy checks that the include is there. */
#undef alloca
#pragma GCC poison strcpy strcat sprintf vsprintf gets strtok atoi atol alloca setjmp longjmp system
