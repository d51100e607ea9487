//! Keys made for these tests with `openssl`, and the published one of 1024 bits.

/// The published key of 1024 bits, PKCS#1.
pub(super) const SMALL_PKCS1: &str = "\
-----BEGIN RSA PRIVATE KEY-----\n\
MIICYQIBAAKBgQC1iaUr5cgShCn0127+w14XN297q/IviaewIeIJsKTZF1hBPsLn\n\
NIPsnqtQ9DFbjIyqyZvdmQFDJCSLpXaVc648yepnFDKbOfs3r+K4Crnpo2SuZmNV\n\
NDVEi4pECXlBz810zJY1wqVArM7qGAyCcRLBprwXB6wfEhk3CAP3c29+pwIDAQAB\n\
AoGAARo65I9arbIbxx7fz7BEDAQMK0YaDGvbltg91S07cw4PPSYybNEG1BMKm01A\n\
V3v9BrR+u9PIDC5WAnsYwiODqEoSyk8OwO1E2kWA6+MNclYYfVjaJeiRJ5PzCud/\n\
iUObonptRzxuTng+u1oGuX7QwUhwGJdXVBUAtJFYwXR2qVECRQC5S+6vdFESRLSX\n\
7yBZVM6+49lZcdehMv0HwT17UseLvWcjeSbiogvv02HbYilrW9ZydKsixAWP5w/U\n\
S3L34CS811VcDQI9APrOiL7c1xg5fX8wAWv2d+e+MfZoB3ohb8671W3pmp3JVnjY\n\
tzhoYNNQmnmRQQWf7n3J63MQz4sYYNn0gwJEE/pl37Dw1MFnn0H/AOKt79LtKkGl\n\
+BFhSqbBFDzWmvBu4Fo9oQ3Lr63gzSCGSrb6JhkCIptz5hIJmOARozwdeebVozkC\n\
PQDwOqVmU3c/P8nB6oRiGditw1Jt1yTaSW6jkOyUc73iRngqFkIgqHGd1kWwDX4/\n\
WfoAyEhalY6Fh5s1COsCRQCy4b3hnQws5zz/gmGNnoyxn9N+A09ySaFtn2WkUlrR\n\
Z6DwoJz+n6EgjLY8z6ZQyv342iobO5zKkZHFvO9QYGqk7y8lJA==\n\
-----END RSA PRIVATE KEY-----\n";

/// The same, PKCS#8.
pub(super) const SMALL_PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIICewIBADANBgkqhkiG9w0BAQEFAASCAmUwggJhAgEAAoGBALWJpSvlyBKEKfTX\n\
bv7DXhc3b3ur8i+Jp7Ah4gmwpNkXWEE+wuc0g+yeq1D0MVuMjKrJm92ZAUMkJIul\n\
dpVzrjzJ6mcUMps5+zev4rgKuemjZK5mY1U0NUSLikQJeUHPzXTMljXCpUCszuoY\n\
DIJxEsGmvBcHrB8SGTcIA/dzb36nAgMBAAECgYABGjrkj1qtshvHHt/PsEQMBAwr\n\
RhoMa9uW2D3VLTtzDg89JjJs0QbUEwqbTUBXe/0GtH6708gMLlYCexjCI4OoShLK\n\
Tw7A7UTaRYDr4w1yVhh9WNol6JEnk/MK53+JQ5uiem1HPG5OeD67Wga5ftDBSHAY\n\
l1dUFQC0kVjBdHapUQJFALlL7q90URJEtJfvIFlUzr7j2Vlx16Ey/QfBPXtSx4u9\n\
ZyN5JuKiC+/TYdtiKWtb1nJ0qyLEBY/nD9RLcvfgJLzXVVwNAj0A+s6IvtzXGDl9\n\
fzABa/Z3574x9mgHeiFvzrvVbemanclWeNi3OGhg01CaeZFBBZ/ufcnrcxDPixhg\n\
2fSDAkQT+mXfsPDUwWefQf8A4q3v0u0qQaX4EWFKpsEUPNaa8G7gWj2hDcuvreDN\n\
IIZKtvomGQIim3PmEgmY4BGjPB155tWjOQI9APA6pWZTdz8/ycHqhGIZ2K3DUm3X\n\
JNpJbqOQ7JRzveJGeCoWQiCocZ3WRbANfj9Z+gDISFqVjoWHmzUI6wJFALLhveGd\n\
DCznPP+CYY2ejLGf034DT3JJoW2fZaRSWtFnoPCgnP6foSCMtjzPplDK/fjaKhs7\n\
nMqRkcW871BgaqTvLyUk\n\
-----END PRIVATE KEY-----\n";

/// Its public half, SPKI.
pub(super) const SMALL_SPKI: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC1iaUr5cgShCn0127+w14XN297\n\
q/IviaewIeIJsKTZF1hBPsLnNIPsnqtQ9DFbjIyqyZvdmQFDJCSLpXaVc648yepn\n\
FDKbOfs3r+K4Crnpo2SuZmNVNDVEi4pECXlBz810zJY1wqVArM7qGAyCcRLBprwX\n\
B6wfEhk3CAP3c29+pwIDAQAB\n\
-----END PUBLIC KEY-----\n";

/// Its public half, PKCS#1.
pub(super) const SMALL_PUBLIC: &str = "\
-----BEGIN RSA PUBLIC KEY-----\n\
MIGJAoGBALWJpSvlyBKEKfTXbv7DXhc3b3ur8i+Jp7Ah4gmwpNkXWEE+wuc0g+ye\n\
q1D0MVuMjKrJm92ZAUMkJIuldpVzrjzJ6mcUMps5+zev4rgKuemjZK5mY1U0NUSL\n\
ikQJeUHPzXTMljXCpUCszuoYDIJxEsGmvBcHrB8SGTcIA/dzb36nAgMBAAE=\n\
-----END RSA PUBLIC KEY-----\n";

/// A key of 2048 bits, PKCS#1.
pub(super) const RSA_PKCS1: &str = "\
-----BEGIN RSA PRIVATE KEY-----\n\
MIIEowIBAAKCAQEA9y/S+JoVddy3h1toESuIZW17Q260ompp06aEv+EH8yRdVSga\n\
jy6smaXMjqElFs+decjx05b+jLd/60HHwwtdclPDIMh/7qlJGH9o9KlL8z4XbnWY\n\
U+lU3+8qjeGzdz8ZAnmUsdx5S4MHhrEF6suc9P66UOnIZRNYaH/vnP6pVskxW8tN\n\
qT8nrKf3eziBPu85ieaCEBiD6L4AFvLSM1S/Jjj2GOavQG+azaRYnzidnPZ2osgm\n\
f1M88JG3ziOthq6uMRm7/bQzO+v1JjUVC1IQ9AR4bySxlt40St6qkhYaXCpp2RQR\n\
1Imzjyq8+XDZRIq0R67Ni/Boc0R5iTUhqV1jPQIDAQABAoIBACaI31YPqUxOPBM/\n\
KfZRR8puGqL8yW6vca+D3FqQYX2jW+R4Y8mSAGjUitLqZr6LX7SaYa63cZfszGWX\n\
w+VRaoA19CuybhU98U3/INTRZqx1L9Bxxy0/qRJe9c6YErMClGrJGufuY79kniH+\n\
i1pa4y1jX5bZFztAnI3v8eIS5kHHvbdLg2mt6M825lEg7KStsvStA51Y4d2YmuAv\n\
74liVUbY8idANGpNSGXaN9At3+QR9XSBHdxz8d52PTixR6W0mDL9eYCviArQy44X\n\
KtUFR5f3Ie/5Px3xixqRIqCdUsBH/5G5XAOq9pzy/BByauqvuU4FolIl/syU9ORW\n\
5ouYm/ECgYEA/9pUkDmPqczvA0iLXmzxbX3L3iSaQxcvxgUomd+wA35x9IZVEndS\n\
VXXJ6VTAO/bh4D2u6LfGLP5fnvAKLPY364p5Q5wESPn6U72Z4ateCMLfHHMhWwU4\n\
Fe4QGOGpuPM8te5je+M+fj0zY5mhHFq8I3D58gRcqbWQcLgNSB7G7Y0CgYEA91Q3\n\
xegtEIj5/pokiBQwe9l9ad9w3hN/8fLMnRXDMrvWCk5i48PtyhDu3ujOaZsPJKs7\n\
JYw4nmcyNikp7Lw7c/0pqCrWNw+QlqF5O1NfNCeH7EwD3LGXqNr//Suyv/jS8h8F\n\
3GIQGSopL9tRPdwXSysJd1BRmjswIrfqgdLSqHECgYEA8cZ1QPFUJGanuteT9EBJ\n\
CWnl/F9kc1/24k6/pmEuqK6VqzhCLjgZ0u6DRn6zRjcwDkLcBciceqpK3BwD0ac/\n\
AtORcmV92yR2/SlfwFS7gNX+FplpfOT6siaMiaa+Ryt8RIQo+MqupIbbCBUGnY/U\n\
2D0LxTuAAVO1Uf9rdaq324UCgYAkcrrNZYvOlgERbjHYA/GpLsH2qkD92S3PwBI7\n\
TAu6HEhMuISGQEd4scoh+3j/wyQWKU3MGL/3SAn0RViyVIMGctaCu91Zu+d4607s\n\
WTr8ep7jSch/64QIFE4JRzlOZSLhH4VDlwf8TWRIcy+jyB1+rFb2yFVePz62vxfG\n\
DgWRYQKBgAELxCxAF2Q4Nb/1eyaBIW79p88pY++4T9iNmObQZSXDSlgjAVU6/B1F\n\
Jsw8R40+Z6zkxJgnFvTrIAFA6zmquwFtT80lSyGSegdFOr07NvEjRnG9DcoSxB3l\n\
ZME9MPsbSqJjgFlu2SxckR/mLIrRGWvylNeohNXe+5cqBPDmwEr+\n\
-----END RSA PRIVATE KEY-----\n";

/// The same, PKCS#8.
pub(super) const RSA_PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQD3L9L4mhV13LeH\n\
W2gRK4hlbXtDbrSiamnTpoS/4QfzJF1VKBqPLqyZpcyOoSUWz515yPHTlv6Mt3/r\n\
QcfDC11yU8MgyH/uqUkYf2j0qUvzPhdudZhT6VTf7yqN4bN3PxkCeZSx3HlLgweG\n\
sQXqy5z0/rpQ6chlE1hof++c/qlWyTFby02pPyesp/d7OIE+7zmJ5oIQGIPovgAW\n\
8tIzVL8mOPYY5q9Ab5rNpFifOJ2c9naiyCZ/UzzwkbfOI62Grq4xGbv9tDM76/Um\n\
NRULUhD0BHhvJLGW3jRK3qqSFhpcKmnZFBHUibOPKrz5cNlEirRHrs2L8GhzRHmJ\n\
NSGpXWM9AgMBAAECggEAJojfVg+pTE48Ez8p9lFHym4aovzJbq9xr4PcWpBhfaNb\n\
5HhjyZIAaNSK0upmvotftJphrrdxl+zMZZfD5VFqgDX0K7JuFT3xTf8g1NFmrHUv\n\
0HHHLT+pEl71zpgSswKUaska5+5jv2SeIf6LWlrjLWNfltkXO0Ccje/x4hLmQce9\n\
t0uDaa3ozzbmUSDspK2y9K0DnVjh3Zia4C/viWJVRtjyJ0A0ak1IZdo30C3f5BH1\n\
dIEd3HPx3nY9OLFHpbSYMv15gK+ICtDLjhcq1QVHl/ch7/k/HfGLGpEioJ1SwEf/\n\
kblcA6r2nPL8EHJq6q+5TgWiUiX+zJT05Fbmi5ib8QKBgQD/2lSQOY+pzO8DSIte\n\
bPFtfcveJJpDFy/GBSiZ37ADfnH0hlUSd1JVdcnpVMA79uHgPa7ot8Ys/l+e8Aos\n\
9jfrinlDnARI+fpTvZnhq14Iwt8ccyFbBTgV7hAY4am48zy17mN74z5+PTNjmaEc\n\
WrwjcPnyBFyptZBwuA1IHsbtjQKBgQD3VDfF6C0QiPn+miSIFDB72X1p33DeE3/x\n\
8sydFcMyu9YKTmLjw+3KEO7e6M5pmw8kqzsljDieZzI2KSnsvDtz/SmoKtY3D5CW\n\
oXk7U180J4fsTAPcsZeo2v/9K7K/+NLyHwXcYhAZKikv21E93BdLKwl3UFGaOzAi\n\
t+qB0tKocQKBgQDxxnVA8VQkZqe615P0QEkJaeX8X2RzX/biTr+mYS6orpWrOEIu\n\
OBnS7oNGfrNGNzAOQtwFyJx6qkrcHAPRpz8C05FyZX3bJHb9KV/AVLuA1f4WmWl8\n\
5PqyJoyJpr5HK3xEhCj4yq6khtsIFQadj9TYPQvFO4ABU7VR/2t1qrfbhQKBgCRy\n\
us1li86WARFuMdgD8akuwfaqQP3ZLc/AEjtMC7ocSEy4hIZAR3ixyiH7eP/DJBYp\n\
TcwYv/dICfRFWLJUgwZy1oK73Vm753jrTuxZOvx6nuNJyH/rhAgUTglHOU5lIuEf\n\
hUOXB/xNZEhzL6PIHX6sVvbIVV4/Pra/F8YOBZFhAoGAAQvELEAXZDg1v/V7JoEh\n\
bv2nzylj77hP2I2Y5tBlJcNKWCMBVTr8HUUmzDxHjT5nrOTEmCcW9OsgAUDrOaq7\n\
AW1PzSVLIZJ6B0U6vTs28SNGcb0NyhLEHeVkwT0w+xtKomOAWW7ZLFyRH+YsitEZ\n\
a/KU16iE1d77lyoE8ObASv4=\n\
-----END PRIVATE KEY-----\n";

/// Its public half, SPKI.
pub(super) const RSA_SPKI: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA9y/S+JoVddy3h1toESuI\n\
ZW17Q260ompp06aEv+EH8yRdVSgajy6smaXMjqElFs+decjx05b+jLd/60HHwwtd\n\
clPDIMh/7qlJGH9o9KlL8z4XbnWYU+lU3+8qjeGzdz8ZAnmUsdx5S4MHhrEF6suc\n\
9P66UOnIZRNYaH/vnP6pVskxW8tNqT8nrKf3eziBPu85ieaCEBiD6L4AFvLSM1S/\n\
Jjj2GOavQG+azaRYnzidnPZ2osgmf1M88JG3ziOthq6uMRm7/bQzO+v1JjUVC1IQ\n\
9AR4bySxlt40St6qkhYaXCpp2RQR1Imzjyq8+XDZRIq0R67Ni/Boc0R5iTUhqV1j\n\
PQIDAQAB\n\
-----END PUBLIC KEY-----\n";

/// Its public half, PKCS#1.
pub(super) const RSA_PUBLIC: &str = "\
-----BEGIN RSA PUBLIC KEY-----\n\
MIIBCgKCAQEA9y/S+JoVddy3h1toESuIZW17Q260ompp06aEv+EH8yRdVSgajy6s\n\
maXMjqElFs+decjx05b+jLd/60HHwwtdclPDIMh/7qlJGH9o9KlL8z4XbnWYU+lU\n\
3+8qjeGzdz8ZAnmUsdx5S4MHhrEF6suc9P66UOnIZRNYaH/vnP6pVskxW8tNqT8n\n\
rKf3eziBPu85ieaCEBiD6L4AFvLSM1S/Jjj2GOavQG+azaRYnzidnPZ2osgmf1M8\n\
8JG3ziOthq6uMRm7/bQzO+v1JjUVC1IQ9AR4bySxlt40St6qkhYaXCpp2RQR1Imz\n\
jyq8+XDZRIq0R67Ni/Boc0R5iTUhqV1jPQIDAQAB\n\
-----END RSA PUBLIC KEY-----\n";

/// P-256, SEC1, with its parameters before it.
pub(super) const P256_SEC1: &str = "\
-----BEGIN EC PARAMETERS-----\n\
BggqhkjOPQMBBw==\n\
-----END EC PARAMETERS-----\n\
-----BEGIN EC PRIVATE KEY-----\n\
MHcCAQEEIK2zvFn2UnFQCGrrMiYFXXstBZGd8R1fQDcdZdkRR2DmoAoGCCqGSM49\n\
AwEHoUQDQgAE3Oy4Oo+ygylOFNGPrikpJno+mg4jxjWQqXq/Zwto2SwJewgQEhxB\n\
1X8l9Q8q5zpaTexOS890W6EDKWZnSwu7lg==\n\
-----END EC PRIVATE KEY-----\n";

/// The same, PKCS#8.
pub(super) const P256_PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrbO8WfZScVAIausy\n\
JgVdey0FkZ3xHV9ANx1l2RFHYOahRANCAATc7Lg6j7KDKU4U0Y+uKSkmej6aDiPG\n\
NZCper9nC2jZLAl7CBASHEHVfyX1DyrnOlpN7E5Lz3RboQMpZmdLC7uW\n\
-----END PRIVATE KEY-----\n";

/// Its public half, SPKI.
pub(super) const P256_SPKI: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3Oy4Oo+ygylOFNGPrikpJno+mg4j\n\
xjWQqXq/Zwto2SwJewgQEhxB1X8l9Q8q5zpaTexOS890W6EDKWZnSwu7lg==\n\
-----END PUBLIC KEY-----\n";

/// P-384, SEC1, with its parameters before it.
pub(super) const P384_SEC1: &str = "\
-----BEGIN EC PARAMETERS-----\n\
BgUrgQQAIg==\n\
-----END EC PARAMETERS-----\n\
-----BEGIN EC PRIVATE KEY-----\n\
MIGkAgEBBDCIkE9h9G5YBWpYMSDQ+2EWetQJWefu01szrXd8ygmmQfE92c3R9ZVt\n\
Jh6OT9T+uq+gBwYFK4EEACKhZANiAARgXQPCsjinKKLpLYErBrGgaCesXwjtU4WT\n\
vMAhN7XJ/kb6cGBugo6Ca34vCZB/alcJztCg19fj1+OyHS1DCbf/+5jVttiIi3Nd\n\
q7FH5guouABnYvzxgVJCXTIiodtwEoM=\n\
-----END EC PRIVATE KEY-----\n";

/// The same, PKCS#8.
pub(super) const P384_PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCIkE9h9G5YBWpYMSDQ\n\
+2EWetQJWefu01szrXd8ygmmQfE92c3R9ZVtJh6OT9T+uq+hZANiAARgXQPCsjin\n\
KKLpLYErBrGgaCesXwjtU4WTvMAhN7XJ/kb6cGBugo6Ca34vCZB/alcJztCg19fj\n\
1+OyHS1DCbf/+5jVttiIi3Ndq7FH5guouABnYvzxgVJCXTIiodtwEoM=\n\
-----END PRIVATE KEY-----\n";

/// Its public half, SPKI.
pub(super) const P384_SPKI: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEYF0DwrI4pyii6S2BKwaxoGgnrF8I7VOF\n\
k7zAITe1yf5G+nBgboKOgmt+LwmQf2pXCc7QoNfX49fjsh0tQwm3//uY1bbYiItz\n\
XauxR+YLqLgAZ2L88YFSQl0yIqHbcBKD\n\
-----END PUBLIC KEY-----\n";

/// P-521, SEC1, with its parameters before it.
pub(super) const P521_SEC1: &str = "\
-----BEGIN EC PARAMETERS-----\n\
BgUrgQQAIw==\n\
-----END EC PARAMETERS-----\n\
-----BEGIN EC PRIVATE KEY-----\n\
MIHcAgEBBEIANxCukpvVdiW0K8a02APFX0RDYl4vaOdGG7JNhVUVCksi7Ny6pX0H\n\
I/DGAeOulHR5yTzeXkIni+RpnEx4sq8KLgKgBwYFK4EEACOhgYkDgYYABAEzdmJB\n\
9zhWPS3L+qp1BcoYa45Lp5enTFQwORZdZEA3GX+SFKoPMDQ6wdt6H1sMSqqZapAQ\n\
LO/xXaJy/aVdNxjmmwCIim+Lp9fXes2cmNB9l5Yw4W1hXqWmwgb4zDESEgMTO5jv\n\
vk//bbhl5YVS65tA7lZDtW5y/oqUp5vEzj1w5eeycg==\n\
-----END EC PRIVATE KEY-----\n";

/// The same, PKCS#8.
pub(super) const P521_PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIANxCukpvVdiW0K8a0\n\
2APFX0RDYl4vaOdGG7JNhVUVCksi7Ny6pX0HI/DGAeOulHR5yTzeXkIni+RpnEx4\n\
sq8KLgKhgYkDgYYABAEzdmJB9zhWPS3L+qp1BcoYa45Lp5enTFQwORZdZEA3GX+S\n\
FKoPMDQ6wdt6H1sMSqqZapAQLO/xXaJy/aVdNxjmmwCIim+Lp9fXes2cmNB9l5Yw\n\
4W1hXqWmwgb4zDESEgMTO5jvvk//bbhl5YVS65tA7lZDtW5y/oqUp5vEzj1w5eey\n\
cg==\n\
-----END PRIVATE KEY-----\n";

/// Its public half, SPKI.
pub(super) const P521_SPKI: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBM3ZiQfc4Vj0ty/qqdQXKGGuOS6eX\n\
p0xUMDkWXWRANxl/khSqDzA0OsHbeh9bDEqqmWqQECzv8V2icv2lXTcY5psAiIpv\n\
i6fX13rNnJjQfZeWMOFtYV6lpsIG+MwxEhIDEzuY775P/224ZeWFUuubQO5WQ7Vu\n\
cv6KlKebxM49cOXnsnI=\n\
-----END PUBLIC KEY-----\n";

/// A curve that is not used here.
pub(super) const K256_PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgFjhCZ+xCBmHG5qekwE5w\n\
yN9nHSeLPrmPZS/DxwjZ5f6hRANCAAQ12qnh3MTBlgFzIJvnEZMVbvqOC1eIJGTC\n\
enxJWtrBhVKzXtW4v3Hv2gYgcQ4SOTZ+AAMjgAhlXZ0ulvPtTjER\n\
-----END PRIVATE KEY-----\n";

/// Its public half.
pub(super) const K256_SPKI: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAENdqp4dzEwZYBcyCb5xGTFW76jgtXiCRk\n\
wnp8SVrawYVSs17VuL9x79oGIHEOEjk2fgADI4AIZV2dLpbz7U4xEQ==\n\
-----END PUBLIC KEY-----\n";

/// A key of EdDSA, which is not used here.
pub(super) const ED25519: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VwBCIEIGtKFCbwscsnw0IuHa4HedDeq8f4J4vSBnEL/vLDJoib\n\
-----END PRIVATE KEY-----\n";

/// An RSA key that is too short even here.
pub(super) const RSA_512_PKCS1: &str = "\
-----BEGIN RSA PRIVATE KEY-----\n\
MIIBOQIBAAJBAMqykmDpAuij5TOTrqTUQlyDWEaw7H7jj/3Qe8HZ5rmMUHbXwffV\n\
HRJRdfSmuE7OqVTM2umdLhjJS+GrojI08XsCAwEAAQJAUB7vz1CrbqvCIHYCtXKV\n\
XJ4qWZ77jFiFBS3QjVqFYdfJGqEKmXPetq4L12vnF/nDWKzh0pQnMI/rfbqgpRtE\n\
KQIhAPaqQPQnLf3l4PEzK1DJSxZEUHlMcTrXd++sNLx1vdf9AiEA0l5Z25iOdDmL\n\
uCOQ5zESSnmPy4cJIJ4XZnNJZVGefNcCIEZZKis33VsTK8M+p7Tjo+GW3CisD4ML\n\
nq4hO+0f22P1AiBvonYY3FosPyVv8B/DL/0+3Ed8gApN7tcIHQHD7I4oPQIgVkUo\n\
EZm1vGG/ltkj05vPxzibi6LGIkJSc1cXgiBONgg=\n\
-----END RSA PRIVATE KEY-----\n";

/// Its public half.
pub(super) const RSA_512_SPKI: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMqykmDpAuij5TOTrqTUQlyDWEaw7H7j\n\
j/3Qe8HZ5rmMUHbXwffVHRJRdfSmuE7OqVTM2umdLhjJS+GrojI08XsCAwEAAQ==\n\
-----END PUBLIC KEY-----\n";

/// A key with a passphrase.
pub(super) const ENCRYPTED_PKCS8: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
MIIFLTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQIhuwPqaTF1gICAggA\n\
MAwGCCqGSIb3DQIJBQAwHQYJYIZIAWUDBAEqBBCxx5mCZGqlv9RU9SA496gSBIIE\n\
0Dp28DCRKXdo4lepP8yAZVnYVWC4VI2m73dMXx5SnI1p5Cu7PtFipkYoODCTj6Dt\n\
iem52wMbGXpQKdVwt+aF/UAybwM99GOY25AyxO7/3fY72f+4f03qX4ZwUk5/Wsw+\n\
+yGODk0CiaGVxIjQXOplZqTzG+blBZnd/LN9041EHhn4wIWzpgB0Kx5HZAWEZ6oN\n\
CmTjr3bqZBIjkRfEXHT9cFQE+7Pk5CL2BuRC75IWAyzWgAJPvgeqbCtuwjCNn9DE\n\
Y+7xBvmQ/AFe5g8Ms29+N7cISvv6+wh86F78CvsH3YtBY5Yd9s/EQRYsuuW5Bg6o\n\
HmYy7153uSbvNYzHB4Xl8gfQp+flkzPRXs00OuUPITzJibN4zDGGBpXDFbPfTz6Q\n\
mu+0nduFe8u/ZCDkhenB+fE4aO/gk/ZO8asSmxkcuBe4ut5wNOmoml7by7hl+Ltz\n\
ckwOvHfeC4SDc3afJFngXFi9U9tuK2MV2xPfLeNcANF/yHzQ6vFs8W/WwBX6cu/x\n\
B5Dx8t2c+SZVPaZ+dox3xl+VvwqcTOax8iJAaZbwkCFRfz6Nk9rDPpXySwfmYVP3\n\
7zasMoB/s41Ol5uIty0kk6IOV95mt3JZ1K+M1JE3VZOiEx9MnHOr1VriXiWFVan4\n\
PlkMNWjilSdArwkjEbfGzcqcndJpNpz57f4jNRJ7noB4KbbW1zpcb/dYP70Xgt9d\n\
QUmIyDXVIupmUqSYUE4+BoQVFwwxef1+kegDINjuxtNQc+327iEw4aX6wgW+yHJz\n\
ja2OzDv1CUHeLTLP5GJnR2dWPXXCVyDZQg82m74IrNXFhykLMvxb5rJyVbCs6gC4\n\
rI1WVa9dZymIimN/QfhqLVpEzoHG21D4/yheMxEUajWKWClA9/sH542bmaSnFvoz\n\
YwPBOAum+d+I8r68BelQRrVjChOG59ZbU69tAN4jih8MwqVCytCt65w5PGiQzDFr\n\
pJZ0LSluuDrU3e7ipirG5C1CLNsV2gxPZDHqa3CHuTQgQcOwHXGLXcs09U9SA3/t\n\
+RAZ1PhSVNiInLwJ6gdU7jL1RTTJmTwH7YabXXzrXk3fC8HZLr81OuQRKJ4d9xDd\n\
Alj2YdEvxcg5dlFpcocWZYzPJnUh7WX3IhDV07699/NS8UkMLCbd4ZrxfBGbnmbL\n\
y8XsCHt827DAe3XVgmRV5oAqjj1ivLAVuhYFu4rXK7NojAmt3evRY3srQmZkZy1v\n\
1lKFEiiaUhr3OhDAKXxH93Yttu3PJCM/2UQwy64BAWjLz7J0D3HalAXEL02sBKyZ\n\
184uddQnIKBwFtc3ljvXcgdeHK73QrLxmQcU/A/A3OevJlLLFlGfCXyD6F6EDh+N\n\
XVWMlHOz/3nWKPlg9ICo3xMq0QIIGcVrFnx8cvR6YbJn37mzsn2wNlMNDc5W6GdC\n\
rifrcsZHka/Jj1ckH/ynQehFN3Qlb3YXEKdr1jNyJbxQtrMEQICThoLT9uDi5wOw\n\
TcRmYjki0SQm2POYHI2xAatL5Ik5pbO635HUNvqJmE8olTFSVLhwrlow1+JBF5E8\n\
/CU3AQVkJQxfI/V3gY/x0wxm+j14V4ck+5Ex07tWv1YUzgcNRcMIHyHF2ir/K9p1\n\
ibXYYXJv6ibG6Ad1pE65DiSrrgBm4mnIvSOvG2aT+Uwd\n\
-----END ENCRYPTED PRIVATE KEY-----\n";

/// A key with a passphrase, in the old form, cut short.
pub(super) const ENCRYPTED_PKCS1: &str = "\
-----BEGIN RSA PRIVATE KEY-----\n\
Proc-Type: 4,ENCRYPTED\n\
DEK-Info: AES-256-CBC,8247B74D05CCBD6C6A9819FE5D3A2922\n\
\n\
Q0SDr1fgl2PYUpIyLh6HkaxZLyVU3EVOoceewIBY8Y/qZMq/lH2PwAqmVRD/DUgO\n\
b5zKeZq698G2sy90Urhc6PAgR+txrLKSF/RSbZfMZydyD+0XRV88CRBU5UcQV//b\n\
-----END RSA PRIVATE KEY-----\n";
